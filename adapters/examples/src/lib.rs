//! yroom inside other people's programs: see `src/bin` for these, `tests` for what is tested of them.
#![forbid(unsafe_code)]

/// The examples of the README, which need the engine, a driver, a store and axum.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
