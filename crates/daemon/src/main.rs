//! egretd
fn main() {}
