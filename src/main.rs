//! The command `lazycam`: parse, dispatch, exit status.

fn main() {}
