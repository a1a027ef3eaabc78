//! How long a gRPC call may take, as its header can say it.

use std::time::Duration;

use tonic::Request;

/// The most that `grpc-timeout` has digits for: eleven thousand years.
const LONGEST: Duration = Duration::from_secs(99_999_999 * 3600);

/// Lets `request` take `timeout`, which may be longer than the header can say: tonic panics at that.
pub(crate) fn limit<T>(request: &mut Request<T>, timeout: Duration) {
    request.set_timeout(timeout.min(LONGEST));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_duration_can_be_is_a_timeout() {
        let mut request = Request::new(());
        limit(&mut request, Duration::MAX);
        assert_eq!(request.metadata().get("grpc-timeout").unwrap(), "99999999H");
    }
}
