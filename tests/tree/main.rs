//! What the repository says in two places is said alike: recipes, licences, versions, who imports whom, who reads a clock,
//! how types are named, how long files are, and how prose wraps. These run no server; the crate's package, which has none
//! of the files they read, leaves them out.

#[path = "../common/mod.rs"]
mod common;

mod clocks;
mod imports;
mod layering;
mod lengths;
mod names;
mod recipes;
mod supply_chain;
mod wrapping;
