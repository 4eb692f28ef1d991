#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| yroom_sim::targets::wire(bytes));
