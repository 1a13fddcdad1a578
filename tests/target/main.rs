//! The writing side of all four kinds of server: each rule of `attempt`, `read` and `write`, and the checkpoint.
#![allow(clippy::unwrap_used)]

mod bench;
#[path = "../harness/mod.rs"]
mod harness;
mod transactions;
mod values;
mod writes;

/// One test per kind of server.
macro_rules! on_all_kinds {
    ($part:ident: $($scenario:ident)*) => {
        $(mod $scenario {
            use super::harness::Kind;
            use super::$part;
            #[tokio::test]
            async fn postgres18() {
                Box::pin($part::$scenario(Kind::Postgres18)).await;
            }
            #[tokio::test]
            async fn postgres15() {
                Box::pin($part::$scenario(Kind::Postgres15)).await;
            }
            #[tokio::test]
            async fn mysql() {
                Box::pin($part::$scenario(Kind::Mysql)).await;
            }
            #[tokio::test]
            async fn mariadb() {
                Box::pin($part::$scenario(Kind::Mariadb)).await;
            }
        })*
    };
}

on_all_kinds! {
    writes:
    uncontested_writes_apply_and_others_change_nothing
    an_insert_that_loses_a_race_is_not_applied
    tombstones_beat_inserts_of_their_version_and_below
    a_tombstone_committed_while_an_insert_waits_beats_it
    stamps_guard_updates_and_deletes_and_the_greater_tombstone_stays
    a_row_that_came_after_it_was_read_as_missing_stays
    unique_values_may_be_swapped
    a_taken_unique_value_is_named_and_the_others_are_written
    a_row_that_no_partition_takes_is_refused
    a_trigger_of_a_column_that_is_gone_stops
    refused_rows_do_not_hold_back_the_others
    a_column_that_no_update_may_set_is_an_error_of_its_own
    nothing_is_ever_cut_to_fit
    a_large_batch_goes_through
}

on_all_kinds! {
    transactions:
    a_skip_is_about_the_stop_and_no_other
    only_the_holder_of_the_epoch_goes_on
    a_rollback_leaves_nothing
    reads_lock_and_see_tombstones
    conflicts_are_recorded_once
}

on_all_kinds! {
    values:
    hostile_names_and_values_arrive_as_they_are
    text_keys_are_their_spelling
    composite_keys_of_many_types_find_their_rows
    every_type_survives_a_set_of_rows
}
