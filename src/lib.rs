//! Tidelock: two-way replication between PostgreSQL and MySQL/MariaDB.
//!
//! `docs/architecture.md` is the map: the way of a change, the layers, the invariants.

pub mod access;
pub mod batch;
pub mod chunk;
pub mod cli;
pub mod compare;
pub mod config;
pub mod ddl;
pub mod demo;
pub mod engine;
pub mod error;
pub mod expr;
pub mod flow;
pub mod http;
pub mod install;
pub mod joined;
pub mod mapping;
pub mod merge;
pub mod model;
pub mod mysql;
pub mod plan;
pub mod playground;
pub mod postgres;
pub mod schema;
pub mod seed;
pub mod sidecar;
pub mod spill;
pub mod status;
pub mod typemap;
pub mod version;
