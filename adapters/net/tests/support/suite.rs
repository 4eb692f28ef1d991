//! The same tests for each runtime.

/// Makes a module of tests for each runtime out of functions that take it as a type parameter.
macro_rules! suite {
    ($runtime:ident, $feature:literal, $type:ident: $($test:ident)*) => {
        #[cfg(feature = $feature)]
        mod $runtime {
            $(
                #[test]
                fn $test() {
                    super::$test::<yroom_net::runtime::$type>();
                }
            )*
        }
    };
    ($($test:ident)*) => {
        suite!(tokio, "tokio", Tokio: $($test)*);
        suite!(smol, "smol", Smol: $($test)*);
        suite!(async_std, "async-std", AsyncStd: $($test)*);
    };
}
