//! The nouns: values, rows, tables, positions, origins, stamps. No I/O, no async, no engine.

pub mod change;
pub mod collation;
pub mod collection;
pub mod conflict;
pub mod log;
pub mod numbers;
pub mod operation;
pub mod origin;
pub mod packed;
pub mod parked;
pub mod position;
pub mod round;
pub mod rules;
pub mod schema;
pub mod stamp;
pub mod sync;
pub mod value;
pub mod version;
