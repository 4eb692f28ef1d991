//! The `yroom` program.
fn main() {}
