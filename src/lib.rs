//! Tidelock: two-way replication between PostgreSQL and MySQL/MariaDB.

pub mod access;
pub mod error;
pub mod model;
pub mod plan;
pub mod typemap;
