//! What every store must do: the same cases for each implementation, each a test of its own.
//!
//! An implementation gives a [`Bench`] and says in which [modes](Mode) its cases run:
//!
//! ```ignore
//! async fn fresh() -> impl Bench { … }
//! conformance::suite!(fresh: plain settled reopened);
//! ```
//!
//! A case says [`World::later`] where it does not matter to the promise whether the store has written down what
//! waits in its memory, or was opened anew, in the meantime; the mode says what happens there.

pub(crate) mod close;
pub(crate) mod commit;
pub(crate) mod cuts;
pub(crate) mod deletions;
pub(crate) mod fields;
pub(crate) mod ids;
pub(crate) mod list;
pub(crate) mod load;
mod model;
pub(crate) mod pages;
pub(crate) mod pipeline;
pub(crate) mod push;
pub(crate) mod random;
pub(crate) mod read;
pub(crate) mod remembered;
pub(crate) mod retention;
mod samples;
pub(crate) mod unfinished;
mod world;

use std::sync::Arc;

use async_trait::async_trait;

use super::Store;

pub(crate) use samples::{answer, append, appending, delete, finish, open, remember, remembering, row};
pub(crate) use world::World;

/// A store under test, and what its surroundings can do to it.
#[async_trait]
pub(crate) trait Bench: Send {
    /// The store as it is open now.
    fn store(&self) -> Arc<dyn Store>;

    /// Makes the store write down what waits in its memory, and tidy up: flush, merge, seal.
    async fn settle(&mut self) {}

    /// Ends the store and opens what it has left behind. False if nothing survives; then nothing was done.
    /// Nobody else holds the store meanwhile.
    async fn reopen(&mut self) -> bool {
        false
    }
}

/// What happens where a case says [`World::later`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Nothing.
    Plain,
    /// The store settles.
    Settled,
    /// The store is opened anew.
    Reopened,
    /// The store settles and is opened anew, so that nothing of it comes from what it wrote last.
    Rested,
}

impl Mode {
    fn named(name: &str) -> Self {
        match name {
            "plain" => Self::Plain,
            "settled" => Self::Settled,
            "reopened" => Self::Reopened,
            "rested" => Self::Rested,
            _ => panic!("the modes are plain, settled, reopened, rested"),
        }
    }
}

/// One test per case and mode, in a module per mode. Takes the name of an `async fn() -> impl Bench` in the module
/// that it stands in, and the modes that make sense for it: `plain`, `settled`, `reopened`, `rested`.
macro_rules! suite {
    ($fresh:ident: $($mode:ident)+) => {
        $(mod $mode {
            use super::$fresh;
            $crate::store::conformance::cases! { $fresh $mode }
        })+
    };
}

/// Every case there is, by family.
macro_rules! cases {
    ($fresh:ident $mode:ident) => {
        $crate::store::conformance::tests! {
            $fresh $mode:
            commit {
                what_was_committed_is_read_in_order
                a_group_of_many_tasks_is_written_whole
                several_appends_of_one_task_stand_in_order
                appends_of_several_tasks_may_be_mixed
                the_last_of_several_rows_of_a_task_holds
                an_expected_number_that_is_not_the_last_is_a_conflict
                a_missing_task_has_the_number_zero
                a_conflict_names_the_task_and_both_numbers
                a_conflict_counts_the_appends_before_it_in_its_group
                a_group_with_a_conflict_writes_nothing_at_all
                the_same_group_a_second_time_is_a_conflict
                a_store_goes_on_after_a_conflict
                an_empty_group_changes_nothing
                a_group_may_hold_answers_alone
                a_group_may_hold_everything_at_once
                a_task_may_come_and_go_in_one_group
                a_group_is_read_before_commit_returns
                events_of_a_mebibyte_and_more_survive
                a_long_text_survives
                a_group_of_many_mebibytes_survives
                ten_thousand_events_of_one_task_fit_in_a_group
                ten_thousand_tasks_fit_in_a_group
                a_thousand_groups_of_one_task_are_one_log
                deletions_alone_of_nothing_are_fine
            }
            pipeline {
                groups_given_at_once_take_effect_in_order
                a_group_whose_future_is_dropped_takes_effect
                a_group_that_nobody_polls_takes_effect
                a_group_that_is_done_has_those_before_it_behind_it
                futures_may_be_awaited_in_any_order
                a_conflict_counts_the_groups_on_their_way
                a_refused_group_on_its_way_counts_for_nothing
                a_refused_group_that_nobody_awaits_harms_nobody
                a_second_opening_conflicts_with_one_on_its_way
                a_deletion_on_its_way_counts
                of_answers_on_their_way_the_last_holds
                webhooks_on_their_way_stay_in_order
                a_checkpoint_given_with_groups_on_their_way_is_true_to_one_of_them
                hundreds_of_groups_on_their_way_are_all_written
                groups_may_be_given_by_many_threads
                nobody_sees_half_a_group
            }
            fields {
                every_field_of_a_status_event_survives
                every_field_of_an_artifact_event_survives
                every_field_of_a_cause_survives
                every_field_of_a_row_survives
                every_state_survives
                every_field_of_a_checkpoint_survives
                every_field_of_a_checkpoint_that_is_a_hint_survives
                every_field_of_a_webhook_survives
                the_secrets_of_a_webhook_survive
                every_field_of_an_answer_survives
                a_long_message_answer_survives
            }
            ids {
                ids_in_any_script_are_told_apart
                ids_that_are_prefixes_of_each_other_are_told_apart
                ids_that_look_like_paths_are_only_ids
                ids_of_odd_characters_are_told_apart
                ids_that_differ_in_case_only_are_told_apart
                ids_that_look_like_numbers_sort_as_text
                ids_of_512_bytes_are_told_apart
                ids_of_many_bytes_at_every_length_are_told_apart
                agent_and_owner_do_not_run_together
                owner_and_context_do_not_run_together
                an_owner_without_a_name_is_an_owner_like_others
                a_cut_takes_from_its_own_task_only
            }
            read {
                a_read_begins_after_any_number
                a_read_beyond_the_end_is_empty
                a_read_gives_as_many_events_as_asked_for
                a_read_gives_at_least_one_event
                a_read_stops_when_it_has_its_bytes
                a_big_event_comes_alone
                reads_of_any_size_add_up_to_the_log
                a_missing_task_is_not_found
                tasks_that_were_written_in_turn_are_read_apart
                a_read_sees_what_came_after_an_earlier_one
            }
            load {
                a_load_of_a_missing_task_is_none
                a_load_gives_the_latest_row
                a_task_without_a_checkpoint_loads_without_one
                a_checkpoint_comes_back_with_a_load
                a_newer_checkpoint_replaces_an_older
                an_older_checkpoint_never_replaces_a_newer
                of_several_checkpoints_at_once_the_newest_holds
                a_checkpoint_of_a_missing_task_does_nothing
                a_checkpoint_beyond_the_log_is_not_given
                no_checkpoints_are_no_harm
                a_checkpoint_changes_neither_row_nor_events_nor_lists
                a_checkpoint_stays_when_more_is_appended
            }
            list {
                an_empty_store_has_empty_lists
                tasks_are_counted_by_state_whosever_they_are
                the_newest_status_comes_first
                of_equal_times_the_greatest_id_comes_first
                times_before_1970_and_at_the_ends_of_the_range_are_in_order
                a_list_gives_the_whole_row_as_it_is_now
                status_since_includes_the_very_nanosecond
                each_state_has_its_own_list
                each_owner_sees_its_own_tasks
                each_agent_has_its_own_tasks
                a_context_is_its_owners_only
                a_context_may_have_thousands_of_tasks
                every_combination_of_filters_selects_what_matches
                a_task_that_changes_state_changes_lists
                a_task_whose_status_is_renewed_moves_to_the_front
                a_status_from_a_clock_that_went_back_moves_a_task_back
                totals_follow_what_comes_changes_and_goes
            }
            pages {
                pages_of_every_size_add_up_to_the_list
                pages_of_a_filtered_list_add_up_too
                tasks_of_one_instant_are_paged_by_id
                a_page_that_ends_the_list_has_no_next
                a_page_may_be_as_large_as_can_be_said
                a_cursor_is_a_place_whether_or_not_its_task_is_there
                a_cursor_holds_when_its_task_goes
                a_task_that_changes_between_pages_is_not_seen_twice
                a_task_that_comes_between_pages_is_at_the_front
                turning_pages_under_change_leaves_out_nothing_that_stays
                the_last_of_a_thousand_pages_is_as_right_as_the_first
            }
            remembered {
                an_answer_is_remembered_until_it_expires
                an_unknown_key_is_not_remembered
                an_answer_that_comes_expired_is_not_given
                an_answer_may_be_kept_to_the_end_of_time
                an_answer_is_renewed
                a_later_answer_holds_even_if_it_expires_sooner
                of_two_answers_in_a_group_the_later_holds
                keys_that_differ_in_one_bit_are_told_apart
                thousands_of_answers_are_remembered
                an_answer_outlives_its_task
                an_answer_expires_by_the_time_that_is_asked_with
            }
            unfinished {
                every_state_that_is_not_terminal_is_unfinished
                unfinished_tasks_come_in_the_order_of_their_ids
                unfinished_tasks_are_paged
                unfinished_goes_on_after_an_id_that_is_not_there
                a_task_that_finishes_is_not_unfinished_any_more
                a_task_that_is_deleted_is_not_unfinished_any_more
                unfinished_gives_whole_rows_as_they_are_now
                unfinished_tasks_are_of_every_owner_and_agent
                no_more_unfinished_tasks_come_than_asked_for
            }
            retention {
                nothing_expires_where_everything_is_kept
                nothing_expires_in_an_empty_store
                a_task_expires_when_it_has_its_age
                an_age_of_nothing_takes_what_has_finished_by_now
                ages_at_the_ends_of_the_range_are_right
                a_count_keeps_those_that_finished_last
                the_oldest_go_first_whatever_their_ids
                age_and_count_hold_together
                each_state_is_kept_by_its_own_rule
                an_unfinished_task_never_expires
                a_count_is_over_all_owners_and_agents
                events_go_when_they_have_their_age
                events_go_once
                a_task_with_one_event_has_nothing_to_cut
                a_task_that_was_cut_in_part_is_cut_to_its_last
                a_task_that_goes_is_not_cut_first
                a_task_that_was_cut_still_goes
                no_more_are_found_than_asked_for
                taking_what_is_found_comes_to_an_end
                a_task_finishes_at_its_last_status
                a_count_does_not_count_what_has_gone
                finding_takes_nothing_away
            }
            push {
                a_webhook_is_put_and_found
                a_task_without_webhooks_has_none
                a_webhook_may_come_with_its_task
                a_webhook_is_replaced
                a_webhook_is_removed
                webhooks_come_in_the_order_of_their_ids
                changes_of_one_webhook_in_a_group_take_effect_in_order
                a_webhook_of_a_missing_task_is_passed_over
                webhooks_vanish_with_their_task
                webhooks_of_a_task_that_goes_in_the_same_group_go_too
                webhooks_stay_while_their_task_goes_on
                webhooks_of_tasks_are_told_apart
                a_task_may_have_many_webhooks
            }
            cuts {
                a_read_before_a_cut_is_a_gap_that_names_the_oldest
                a_read_behind_a_cut_goes_on
                a_load_after_a_cut_gives_the_fold_of_what_went
                a_cut_may_leave_the_last_event_only
                a_cut_needs_no_fold_newer_than_what_goes
                a_cut_goes_through_groups_of_events
                a_cut_before_an_earlier_one_brings_nothing_back
                of_two_cuts_in_a_group_both_are_taken
                a_cut_changes_neither_row_nor_lists
                a_cut_is_taken_after_the_appends_of_its_group
                a_task_that_was_cut_keeps_its_numbers
                a_cut_of_a_missing_task_is_passed_over
                a_cut_task_that_goes_comes_back_whole
                a_newer_checkpoint_stays_through_a_cut
                many_tasks_are_cut_in_one_group
            }
            deletions {
                a_deleted_task_is_missing
                a_deleted_task_is_on_no_list
                a_task_may_be_deleted_in_any_state
                a_deletion_of_a_missing_task_is_passed_over
                a_deletion_comes_last_in_its_group
                a_deleted_id_may_be_made_anew
                a_task_made_anew_is_longer_than_the_old_one
                a_continuation_of_a_deleted_task_is_a_conflict
                a_deletion_leaves_other_tasks_of_its_context
                a_deletion_leaves_the_answers
                a_deleted_task_does_not_expire_again
                a_checkpoint_of_a_deleted_task_does_nothing
                a_thousand_tasks_go_in_one_group
                deleting_everything_leaves_an_empty_store
            }
            close {
                a_store_says_what_it_is
                an_empty_store_closes
                a_store_may_be_closed_twice
                what_was_committed_survives_a_close
                a_commit_after_a_close_is_refused_or_kept
                groups_on_their_way_are_written_before_a_close_ends
                a_store_goes_on_where_it_was_left
            }
            random {
                a_random_history_of_few_tasks_is_as_in_the_model
                a_random_history_of_many_tasks_is_as_in_the_model
            }
        }
    };
}

/// The tests of one mode: a module for each family of cases.
macro_rules! tests {
    ($fresh:ident $mode:ident: $($family:ident { $($case:ident)+ })+) => {
        $(mod $family {
            use super::$fresh;
            $(#[tokio::test]
            async fn $case() {
                let mut world = $crate::store::conformance::World::new($fresh().await, stringify!($mode));
                $crate::store::conformance::$family::$case(&mut world).await;
            })+
        })+
    };
}

pub(crate) use {cases, suite, tests};
