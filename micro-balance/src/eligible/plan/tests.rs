//! Who is left where some cannot be reached, and which level is waited for.

use std::time::Duration;

use tokio::time::advance;

use super::{Standing::*, *};
use crate::eligible::{Locality, Priority, locality::ZoneWeights};

const HALF: Panic = Panic { percent: 50, refuses: false };
const SECOND: Duration = Duration::from_secs(1);

/// The steps for endpoints of these priorities and standings.
fn planned(priority: Priority, of: &[(u32, Standing)], panic: Panic, waits: &mut Waits) -> Eligible {
    let eligibility = Eligibility { priority, ..Eligibility::default() };
    let attributes: Vec<_> =
        of.iter().map(|&(priority, _)| Attributes { priority, ..Attributes::default() }).collect();
    let candidate = |(attributes, &(_, standing))| Candidate { attributes, standing };
    let candidates: Vec<_> = attributes.iter().zip(of).map(candidate).collect();
    eligibility.plan(&candidates, panic, waits)
}

/// Who takes requests.
fn members(eligible: &Eligible) -> Vec<usize> {
    eligible.groups.iter().flat_map(|group| group.members.clone()).collect()
}

#[test]
fn where_only_ejected_ones_of_another_level_can_be_reached_they_are_those_who_take_the_requests() {
    let ejected = [(0, Unreached), (1, Out), (2, Out)];
    let of = |priority, panic| planned(priority, &ejected, panic, &mut Waits::default());
    let both = of(Priority::failover(), HALF);
    assert_eq!(members(&both), [1, 2]);
    let group = &both.groups[0];
    assert!(group.panic && group.marks.has(Marks::PANIC) && group.marks.has(Marks::PRIORITY), "{group:?}");
    assert_eq!(members(&of(Priority::proportional(), HALF)), [1, 2]);
    let never = of(Priority::failover(), Panic { percent: 0, ..HALF });
    assert!(never.groups.is_empty() && !never.refuses, "ejections are heeded whatever comes: {never:?}");
    let refuses = of(Priority::failover(), Panic { refuses: true, ..HALF });
    assert!(refuses.groups.is_empty() && refuses.refuses, "{refuses:?}");
    let nobody = planned(Priority::failover(), &[(0, Unreached), (1, New)], HALF, &mut Waits::default());
    assert!(nobody.groups.is_empty(), "{nobody:?}");
}

#[tokio::test(start_paused = true)]
async fn a_level_is_waited_for_from_when_it_was_new_until_it_is_ready_or_its_time_is_over() {
    let mut waits = Waits::default();
    let mut at = |first: Option<Standing>| {
        let first = first.map(|standing| (0, standing));
        let others = [(1, Well), (2, Out)];
        let of: Vec<_> = first.into_iter().chain(others).collect();
        let eligible = planned(Priority::grpc(), &of, HALF, &mut waits);
        let taken: Vec<_> = members(&eligible).into_iter().map(|index| of[index].0).collect();
        (taken, waits.next().map(|until| until - Instant::now()))
    };
    assert_eq!(at(Some(New)), (vec![], Some(10 * SECOND)));
    advance(4 * SECOND).await;
    assert_eq!(at(Some(New)), (vec![], Some(6 * SECOND)));
    advance(6 * SECOND).await;
    assert_eq!(at(Some(New)), (vec![1], None));
    // It is there, and then others are in its place.
    assert_eq!(at(Some(Well)), (vec![0], None));
    assert_eq!(at(Some(New)), (vec![], Some(10 * SECOND)));
    advance(10 * SECOND).await;
    assert_eq!(at(Some(New)), (vec![1], None));
    // It goes, and comes back.
    assert_eq!(at(None), (vec![1], None));
    assert_eq!(at(Some(New)), (vec![], Some(10 * SECOND)));
    // It was tried in vain.
    assert_eq!(at(Some(Unreached)), (vec![1], None));
    assert_eq!(at(Some(New)), (vec![1], None));
}

#[test]
fn zones_share_as_finely_as_their_weights_say() {
    let locality = Locality::Weighted(ZoneWeights::new([("a", 999), ("b", 1)]));
    let eligibility = Eligibility { locality, ..Eligibility::default() };
    let attributes = ["a", "b"].map(|zone| Attributes { zone: Some(zone.into()), ..Attributes::default() });
    let candidates: Vec<_> =
        attributes.iter().map(|attributes| Candidate { attributes, standing: Well }).collect();
    let groups = eligibility.plan(&candidates, HALF, &mut Waits::default()).groups;
    let shares: Vec<_> = groups.iter().map(|group| group.share as f64).collect();
    assert!((shares[0] / shares[1] - 999.0).abs() < 0.01, "{shares:?}");
}

#[test]
fn those_who_would_take_requests_were_they_not_ejected_are_known_and_nobody_refuses_before_anything_is_known()
{
    let of = |of: &[(u32, Standing)], refuses| {
        let panic = Panic { refuses, ..HALF };
        let Eligible { groups, out, refuses } =
            planned(Priority::failover(), of, panic, &mut Waits::default());
        (groups.len(), out, refuses)
    };
    assert_eq!(of(&[(0, Well), (0, Out), (0, Well), (1, Out)], false), (1, vec![1], false));
    assert_eq!(of(&[(0, Well), (0, Out), (0, Out), (1, Out)], true), (0, vec![1, 2], true));
    assert_eq!(of(&[(0, Well), (0, Out), (0, Out), (1, Out)], false), (1, vec![], false));
    assert_eq!(of(&[(0, New), (0, New)], true), (0, vec![], false));
    assert_eq!(of(&[(0, Well), (0, Degraded), (0, Out), (0, Out)], true), (2, vec![2, 3], false));
}
