//! The matrix: what goes wrong, what may come of it, and how that is shown.

use std::time::Duration;

use futures_core::future::BoxFuture;

use crate::{
    outcome::Outcome,
    scenarios::{clock, death, discovery, network, overload, refusal, slow},
};

/// One fault.
pub(crate) struct Row {
    /// Its number in the matrix, or several that are shown together.
    pub(crate) numbers: &'static [u8],
    pub(crate) fault: &'static str,
    /// What callers may notice.
    pub(crate) goal: &'static str,
    pub(crate) proof: Proof,
}

impl Row {
    /// Its numbers, as they are shown.
    pub(crate) fn label(&self) -> String {
        match self.numbers {
            [first, .., last] => format!("{first}-{last}"),
            numbers => numbers.iter().map(u8::to_string).collect(),
        }
    }
}

/// How a row is shown.
pub(crate) enum Proof {
    /// Done here to processes of this program; the argument says whether it may take minutes.
    Scenario(fn(bool) -> BoxFuture<'static, anyhow::Result<Outcome>>),
    /// By tests elsewhere, with the servers or processes they need: package, target, and the names that have to pass.
    Tests(&'static str, &'static str, &'static [&'static str]),
}

macro_rules! scenario {
    ($path:path) => {
        Proof::Scenario(|_| Box::pin($path()))
    };
}

const fn row(numbers: &'static [u8], fault: &'static str, goal: &'static str, proof: Proof) -> Row {
    Row { numbers, fault, goal, proof }
}

fn unreachable(long: bool) -> BoxFuture<'static, anyhow::Result<Outcome>> {
    Box::pin(discovery::unreachable(Duration::from_secs(if long { 600 } else { 20 })))
}

/// Every fault, in order.
pub(crate) const MATRIX: &[Row] = &[
    row(&[1], "none", "0 errors, most/mean load <= 1.25", scenario!(death::none)),
    row(&[2], "SIGKILL 1 of 5", "0 GET errors", scenario!(death::killed)),
    row(&[3], "deregister, then SIGTERM", "0 errors", scenario!(death::told_in_time)),
    row(&[4], "SIGTERM only, registry late", "0 errors", scenario!(death::told_and_not_delisted)),
    row(&[5], "node frozen (SIGSTOP)", "0 errors, max <= 1 attempt, p99 < 50 ms", scenario!(slow::frozen)),
    row(&[6], "one node 250x slower", "share <= 2 %, p99 < 100 ms", scenario!(slow::slower)),
    row(&[7], "one node all 503", "0 errors, ejected <= 5 requests", scenario!(refusal::one_refuses)),
    row(&[8], "one node 30 % 503", "0 errors, amplification <= 1.06", scenario!(refusal::one_refuses_some)),
    row(&[9], "one node resets half", "0 GET errors", scenario!(refusal::one_resets)),
    row(&[10], "every node 503", "amplification <= 1.2", scenario!(refusal::all_refuse)),
    row(&[11], "half of 10 removed, then killed", "0 errors", scenario!(death::half_removed)),
    row(&[12], "registry says empty for 5 s", "0 errors", scenario!(discovery::empty)),
    row(&[13], "registry unreachable", "0 errors, <= 5 calls/s", Proof::Scenario(unreachable)),
    row(&[14], "a node replaced every 0.5 s", "0 errors", scenario!(death::churn)),
    row(&[15], "rolling restart, not delisted", "0 errors", scenario!(death::rolling)),
    row(&[16], "dead address from the start", "0 errors, <= 1 attempt/s", scenario!(network::dead_address)),
    row(&[17], "ejected node recovers", "back <= 4 s", scenario!(refusal::recovered)),
    row(&[18], "POST, nodes reset after reading", "0 twice, errors surface", scenario!(refusal::posts_reset)),
    row(&[19], "POST, node killed", "0 twice, <= 1 % errors", scenario!(death::killed_under_posts)),
    row(&[20], "response drips a byte per 0.5 s", "0 errors, max <= 1 attempt", scenario!(slow::dripping)),
    row(&[21], "4x load, 50 ms service", ">= 70 % answered", scenario!(overload::four_times)),
    row(&[22], "caller gives up at 200 ms", "work cancelled, counts 0", scenario!(slow::given_up)),
    row(&[23], "SYNs dropped", "0 errors, never picked", scenario!(network::syn_dropped)),
    row(
        &[24],
        "established connection goes black",
        "noticed <= 20 s, 0 errors",
        scenario!(network::black_hole),
    ),
    row(&[25], "10 % loss, 100 ms +- 50 ms", "0 errors", scenario!(network::far_and_lossy)),
    row(&[26], "1000 clients reconnect", "<= 10 % in any 100 ms", scenario!(network::reconnects)),
    row(&[27], "all nodes ejected", "never \"no endpoint\"", scenario!(refusal::all_ejected)),
    row(&[28], "wall clocks +-1 h, +-100 h", "0 errors, nobody vanishes", scenario!(clock::wrong)),
    row(
        &[29],
        "hedging on a slow node",
        "load <= budget, loser cancelled",
        Proof::Tests(
            "micro-balance",
            "hedge",
            &[
                "the_second_request_starts_after_the_delay_and_the_loser_is_dropped",
                "hedges_stay_in_the_budget_when_everything_is_slow",
                "the_percentile_cuts_the_tail_for_its_part_of_load",
            ],
        ),
    ),
    row(&[30], "noise instead of answers", "0 errors, no wrong answer", scenario!(network::noise)),
    row(
        &[31],
        "etcd leader killed",
        "resumes <= 6 s, 0 flaps",
        Proof::Tests(
            "micro-discover",
            "etcd",
            &["a_killed_member_hides_nothing_and_a_new_endpoint_is_seen_soon"],
        ),
    ),
    row(
        &[32],
        "etcd member frozen",
        "<= 6 s, 0 flaps",
        Proof::Tests(
            "micro-discover",
            "etcd",
            &["a_frozen_member_hides_nothing_and_a_new_endpoint_is_seen_soon"],
        ),
    ),
    row(
        &[33],
        "etcd quorum lost 10 s",
        "nobody vanishes",
        Proof::Tests("micro-discover", "etcd", &["a_quorum_lost_for_longer_than_the_ttl_hides_nothing"]),
    ),
    row(
        &[34],
        "etcd: all members down > TTL",
        "renewed, 0 flaps",
        Proof::Tests(
            "micro-discover",
            "etcd",
            &["all_members_down_for_longer_than_the_ttl_hide_nothing_and_announcements_renew_themselves"],
        ),
    ),
    row(
        &[35],
        "etcd compaction while cut off",
        "converges <= 2 s",
        Proof::Tests("micro-discover", "etcd", &["what_was_compacted_away_while_cut_off_is_read_anew"]),
    ),
    row(
        &[36, 37],
        "SIGKILL, SIGTERM of an announced node",
        "<= TTL + 3 s, <= 1 s",
        scenario!(death::gone_from_the_registry),
    ),
    row(
        &[38, 39],
        "200 registrations, and junk beside",
        "converged <= 2 s",
        Proof::Tests(
            "micro-discover",
            "etcd",
            &["two_hundred_endpoints_at_once_are_all_seen_and_junk_beside_them_is_ignored"],
        ),
    ),
    row(
        &[40, 41, 42],
        "Consul in every kind of trouble",
        "view kept, <= 5 calls/s",
        Proof::Tests(
            "micro-discover",
            "consul",
            &[
                "whatever_an_agent_in_trouble_answers_the_set_is_kept_and_it_is_not_pestered",
                "an_index_that_stands_at_zero_goes_back_or_races_makes_no_busy_loop",
                "an_agent_that_was_killed_and_forgot_us_is_told_again_and_the_set_is_kept_meanwhile",
            ],
        ),
    ),
    row(
        &[43, 44],
        "DNS in every kind of trouble",
        "view kept, <= 4 queries/s",
        Proof::Tests(
            "micro-discover",
            "dns",
            &[
                "no_failure_takes_the_set_away_or_floods_the_server",
                "a_truncated_answer_is_asked_for_again_over_tcp",
                "a_changed_answer_is_seen_after_its_ttl_and_a_long_ttl_is_cut",
            ],
        ),
    ),
    row(
        &[45],
        "Kubernetes 410, watch closed, API down",
        "relist, view kept",
        Proof::Tests(
            "micro-discover",
            "kubernetes",
            &[
                "a_410_in_a_stream_and_a_stream_that_makes_no_sense_list_again_at_once",
                "a_watch_that_ends_or_is_cut_goes_on_from_its_last_bookmark",
                "a_balancer_keeps_its_endpoints_through_an_outage_and_follows_afterwards",
            ],
        ),
    ),
    row(
        &[46, 47, 48, 49, 50, 51],
        "broker killed, frozen, cut; consumers too",
        "0 acked lost",
        Proof::Tests("micro-broker", "contract", &[]),
    ),
    row(
        &[52],
        "SIGTERM, stuck stream, second SIGTERM",
        "begun is finished, NOT_SERVING first",
        Proof::Tests(
            "examples",
            "interop",
            &[
                "what_was_begun_is_finished_and_health_says_not_serving_first",
                "a_stuck_stream_holds_the_server_no_longer_than_its_grace",
                "told_twice_it_stops_at_once",
            ],
        ),
    ),
    row(
        &[53, 54],
        "floods, slow clients, bombs, smuggling",
        "cut, others served",
        Proof::Tests(
            "micro",
            "api",
            &[
                "no_request_hides_another",
                "what_is_too_large_is_refused_and_others_are_served",
                "thousands_who_dribble_or_say_nothing_are_cut_while_others_are_served",
                "floods_of_frames_are_cut",
                "what_is_not_registered_cannot_be_reached",
            ],
        ),
    ),
    row(
        &[55],
        "TLS: wrong, expired, renewed under load",
        "0 failed while renewed",
        Proof::Tests(
            "micro-tower",
            "tls",
            &[
                "both_sides_take_the_ids_they_expect_and_no_others",
                "a_certificate_is_renewed_from_its_files_and_no_call_fails",
            ],
        ),
    ),
    row(
        &[56],
        "hostile records, pages and chats",
        "nothing runs",
        Proof::Tests(
            "micro",
            "web",
            &["no_field_of_a_record_becomes_markup", "pages_elsewhere_can_neither_ask_nor_change"],
        ),
    ),
];

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// What the files of Rust below `directory` say.
    fn read(directory: &Path, into: &mut String) {
        for entry in directory.read_dir().unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                read(&path, into);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                into.push_str(&std::fs::read_to_string(path).unwrap());
            }
        }
    }

    #[test]
    fn every_test_that_shows_a_row_is_there_and_every_row_is_shown() {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        for row in MATRIX {
            if let Proof::Tests(package, target, names) = &row.proof {
                let mut text = String::new();
                read(&workspace.join(package).join("tests"), &mut text);
                for name in *names {
                    assert!(
                        text.contains(&format!("fn {name}(")),
                        "{}: {package} {target} {name}",
                        row.label()
                    );
                }
            }
        }
        let shown: Vec<u8> = MATRIX.iter().flat_map(|row| row.numbers).copied().collect();
        assert_eq!(shown, (1..=56).collect::<Vec<_>>());
    }
}
