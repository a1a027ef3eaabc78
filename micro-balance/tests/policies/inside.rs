//! Policies around another one, where they have nothing to say themselves.

use std::time::Duration;

use micro_balance::{
    Chance, Endpoint,
    policy::{Boxed, Context, FirstAttempts, HashBy, LabelSubset, OverrideHost, Policy, Source, Turns},
};

use crate::endpoints::Set;

/// Says the same whatever it is asked.
#[derive(Clone, Copy, Debug)]
struct Says {
    index: Option<usize>,
    hash: Option<u64>,
    yes: bool,
}

impl Policy for Says {
    type Table = ();

    fn table(&self, _: &[Endpoint]) {}

    fn pick(&self, (): &(), _: &[Endpoint], _: &Context<'_>) -> Option<usize> {
        self.index
    }

    fn hash(&self, _: &Context<'_>) -> Option<u64> {
        self.hash
    }

    fn claims(&self, (): &(), _: &Context<'_>) -> bool {
        self.yes
    }

    fn admits(&self, (): &(), _: &Endpoint, _: &Context<'_>) -> bool {
        self.yes
    }

    fn keeps(&self, _: &[Endpoint], _: &Context<'_>) -> Option<usize> {
        self.index
    }

    fn turns(&self, _: &[Endpoint]) -> Option<Turns> {
        let delay = Duration::from_secs(1);
        self.yes.then(|| Turns { order: vec![2, 0, 1], delay })
    }

    fn refresh(&self) -> Option<Duration> {
        self.hash.map(Duration::from_secs)
    }

    fn is_strict(&self) -> bool {
        self.yes
    }
}

/// Everything that it says of a request for which nobody else has a word.
fn word(policy: &impl Policy, set: &Set) -> String {
    let chance = Chance::new(1);
    let context = Context::new(&chance);
    let table = policy.table(&set.endpoints);
    let admits = |endpoint| policy.admits(&table, endpoint, &context);
    let says = (
        policy.pick(&table, &set.endpoints, &context),
        policy.hash(&context),
        policy.claims(&table, &context),
        set.endpoints.iter().map(admits).collect::<Vec<_>>(),
        policy.keeps(&set.endpoints, &context),
        policy.refresh(),
        policy.is_strict(),
    );
    format!("{says:?}")
}

/// In which order endpoints are tried.
fn order(policy: &impl Policy, set: &Set) -> Option<Vec<usize>> {
    policy.turns(&set.endpoints).map(|turns| turns.order)
}

#[tokio::test(start_paused = true)]
async fn a_policy_says_the_same_within_others_that_have_nothing_to_say() {
    let set = Set::named(["a", "b", "c"]).await;
    for (index, hash, yes) in [(None, None, false), (Some(1), Some(7), true), (Some(2), Some(8), false)] {
        let says = Says { index, hash, yes };
        let hashed = Boxed::new(HashBy::new(|_| None, says));
        let first = Boxed::new(FirstAttempts::new(says, "stage", "canary"));
        let labelled = Boxed::new(LabelSubset::new(says).by(["version"]));
        let named = Boxed::new(OverrideHost::new(says).by(Source::Extension));
        for policy in [&hashed, &first, &labelled, &named] {
            assert_eq!(word(policy, &set), word(&says, &set), "{policy:?}");
        }
        assert!([&hashed, &first].iter().all(|policy| order(*policy, &set) == order(&says, &set)));
        // Whoever may be asked for has to be connected.
        assert!([labelled, named].iter().all(|policy| policy.turns(&set.endpoints).is_none()));
    }
}
