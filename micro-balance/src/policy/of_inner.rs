//! What a policy around another wants of the balancer: what that one does.

/// The methods of [`Policy`](super::Policy) that say what a policy wants, for one whose field `policy` is the policy that it
/// is around. The way of a request through both is its own to write.
macro_rules! of_inner {
    () => {
        fn refresh(&self) -> Option<std::time::Duration> {
            self.policy.refresh()
        }

        fn load_reports(&self) -> Option<$crate::policy::LoadReports> {
            self.policy.load_reports()
        }

        fn probing(&self) -> Option<std::sync::Arc<$crate::policy::Probing>> {
            self.policy.probing()
        }

        fn timing(&self) -> Option<$crate::policy::Timing> {
            self.policy.timing()
        }
    };
}

pub(super) use of_inner;
