//! A database of 500 tables.
