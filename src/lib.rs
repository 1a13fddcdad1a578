//! Tidelock: two-way replication between PostgreSQL and MySQL/MariaDB.

pub mod access;
pub mod batch;
pub mod error;
pub mod model;
pub mod mysql;
pub mod plan;
pub mod playground;
pub mod postgres;
pub mod template;
