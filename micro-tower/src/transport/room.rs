//! Room for requests at an endpoint that has one connection for each.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use tokio::{
    sync::{AcquireError, OwnedSemaphorePermit, Semaphore},
    time::interval,
};

use super::{
    crowd::{Crowd, LOOK_EACH},
    rate::Rate,
};

/// As many requests at a time as an endpoint may have, of which a part is kept from those whose bodies take their time.
pub(super) struct Room {
    all: Arc<Semaphore>,
    crowd: Crowd,
    waiting: AtomicUsize,
}

impl Room {
    /// Room for `most` at a time.
    pub(super) fn new(most: usize) -> Self {
        let most = most.min(Semaphore::MAX_PERMITS);
        Self { all: Arc::new(Semaphore::new(most)), crowd: Crowd::new(most), waiting: AtomicUsize::new(0) }
    }

    /// A place for one request whose body takes no time, if there is one that nobody waits for.
    pub(super) fn free(&self) -> Option<OwnedSemaphorePermit> {
        self.all.clone().try_acquire_owned().ok()
    }

    /// A place for one request, whose body comes at `rate` if it may take its time.
    pub(super) async fn place(&self, rate: Option<Rate>) -> Result<OwnedSemaphorePermit, AcquireError> {
        if rate.is_none()
            && let Some(place) = self.free()
        {
            return Ok(place);
        }
        // Seldom, so it may have a box of its own.
        Box::pin(self.wait(rate)).await
    }

    /// Waits for a place, and has bodies make room meanwhile.
    async fn wait(&self, rate: Option<Rate>) -> Result<OwnedSemaphorePermit, AcquireError> {
        let place = async {
            if let Some(rate) = rate {
                self.crowd.place(rate).await;
            }
            self.all.clone().acquire_owned().await
        };
        tokio::pin!(place);
        let mut looks = None;
        let _waiting = Waiting::new(&self.waiting);
        loop {
            tokio::select! {
                biased;
                place = &mut place => return place,
                _ = looks.get_or_insert_with(|| interval(LOOK_EACH)).tick() => {
                    self.crowd.make_room(self.waiting.load(Relaxed));
                }
            }
        }
    }
}

/// Counts one who waits, until this is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::{pin::Pin, task::Poll, time::Duration};

    use bytes::Bytes;
    use http::Request;
    use http_body::{Body as _, Frame};
    use http_body_util::StreamBody;
    use micro_balance::{BrokenBody, cause};
    use tokio::{sync::mpsc, time::timeout};
    use tokio_stream::wrappers::ReceiverStream;
    use tokio_test::{assert_pending, assert_ready, task};
    use tower::BoxError;

    use super::*;
    use crate::transport::{OverShare, Rated, TooSlow};

    type Sender = mpsc::Sender<Result<Frame<Bytes>, BoxError>>;
    type Body = Rated<StreamBody<ReceiverStream<Result<Frame<Bytes>, BoxError>>>>;

    /// A request whose body is what is sent.
    fn request() -> (Sender, Body, Rate) {
        request_of("192.0.2.1")
    }

    fn request_of(client: &str) -> (Sender, Body, Rate) {
        let (sender, frames) = mpsc::channel(8);
        let body = StreamBody::new(ReceiverStream::new(frames));
        let request = Rated::body_of(Request::new(body), Some(client.parse().unwrap()));
        let rate = request.extensions().get::<Rate>().unwrap().clone();
        (sender, request.into_body(), rate)
    }

    fn is_too_slow(body: &mut Body) -> bool {
        failed(body).is_some_and(|error| cause::<TooSlow>(&error).is_some())
    }

    fn failed(body: &mut Body) -> Option<BrokenBody> {
        task::spawn(()).enter(|cx, _| match Pin::new(body).poll_frame(cx) {
            Poll::Ready(Some(Err(error))) => Some(error),
            _ => None,
        })
    }

    const SOON: Duration = Duration::from_millis(1);
    const LONG: Duration = Duration::from_secs(3600);

    #[tokio::test(start_paused = true)]
    async fn bodies_that_take_their_time_leave_room_for_requests_that_are_whole() {
        let room = Room::new(8);
        let mut held = Vec::new();
        for _ in 0..7 {
            let (sender, body, rate) = request();
            held.push((room.place(Some(rate)).await.unwrap(), sender, body));
        }
        let (_sender, body, rate) = request();
        let mut eighth = task::spawn(room.place(Some(rate)));
        assert_pending!(eighth.poll());
        let whole = timeout(SOON, room.place(None)).await.unwrap();
        // Who has heard the end of a body needs no more of the room of those that go on.
        let (_place, sender, mut ended) = held.pop().unwrap();
        drop(sender);
        task::spawn(()).enter(|cx, _| assert!(assert_ready!(Pin::new(&mut ended).poll_frame(cx)).is_none()));
        assert_pending!(eighth.poll(), "all connections are in use");
        drop(whole);
        drop((assert_ready!(eighth.poll()).unwrap(), body));
    }

    #[tokio::test(start_paused = true)]
    async fn the_slowest_bodies_end_where_others_wait_and_only_there() {
        let room = Room::new(3);
        let mut held = Vec::new();
        for _ in 0..3 {
            let (sender, mut body, rate) = request();
            let place = room.place(Some(rate)).await.unwrap();
            assert!(!is_too_slow(&mut body));
            held.push((place, sender, body));
        }
        tokio::time::advance(LONG).await;
        assert!(held.iter_mut().all(|(_, _, body)| !is_too_slow(body)), "nobody waits");
        // The first has said a little, the second much, the last nothing.
        for (at, length) in [(0, 100), (1, 2 << 20)] {
            held[at].1.try_send(Ok(Frame::data(Bytes::from(vec![0; length])))).unwrap();
            assert!(!is_too_slow(&mut held[at].2));
        }
        let mut waiting = task::spawn(room.place(None));
        for _ in 0..5 {
            assert_pending!(waiting.poll());
            tokio::time::advance(LOOK_EACH).await;
        }
        let slow: Vec<_> = held.iter_mut().map(|(_, _, body)| is_too_slow(body)).collect();
        assert_eq!(slow, [false, false, true], "as many as wait");
        held.pop();
        assert!(waiting.is_woken());
        drop(assert_ready!(waiting.poll()).unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_given_five_seconds() {
        let room = Room::new(1);
        let (_sender, mut body, rate) = request();
        let _place = room.place(Some(rate)).await.unwrap();
        assert!(!is_too_slow(&mut body));
        for late in [false, true] {
            tokio::time::advance(Duration::from_secs(3)).await;
            timeout(Duration::from_secs(1), room.place(None)).await.unwrap_err();
            assert_eq!(is_too_slow(&mut body), late);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_comes_again_does_not_wait_for_its_own_body() {
        let room = Room::new(1);
        let (_sender, _body, rate) = request();
        drop(room.place(Some(rate.clone())).await.unwrap());
        drop(timeout(SOON, room.place(Some(rate))).await.expect("it was handed back").unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_has_all_of_the_room_gives_others_their_share_of_it() {
        let room = Room::new(8);
        let mut held = Vec::new();
        for at in 1..8_usize {
            let (sender, mut body, rate) = request();
            let place = room.place(Some(rate)).await.unwrap();
            // All of them come fast enough, each faster than the one before.
            sender.try_send(Ok(Frame::data(Bytes::from(vec![0; at << 20])))).unwrap();
            assert!(failed(&mut body).is_none());
            held.push((place, sender, body));
        }
        let over_share = |held: &mut Vec<_>| {
            let over = |(_, _, body): &mut (_, _, Body)| {
                failed(body).is_some_and(|error| cause::<OverShare>(&error).is_some())
            };
            let before = held.len();
            held.retain_mut(|one| !over(one));
            before - held.len()
        };
        let a_while = Duration::from_secs(10);
        tokio::time::advance(a_while).await;
        let (_kept, _body, rate) = request_of("192.0.2.1");
        timeout(a_while, room.place(Some(rate))).await.expect_err("he is alone, and has to wait for himself");
        assert_eq!(over_share(&mut held), 0);

        let (mut others, mut waiting, mut came) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..5 {
            let (sender, body, rate) = request_of("192.0.2.2");
            others.push((sender, body));
            waiting.push(task::spawn(room.place(Some(rate))));
        }
        let mut over = 0;
        for _ in 0..8 {
            waiting.retain_mut(|place| match place.poll() {
                Poll::Ready(place) => {
                    came.push(place.unwrap());
                    false
                }
                Poll::Pending => true,
            });
            tokio::time::advance(LOOK_EACH).await;
            over += over_share(&mut held);
        }
        assert_eq!((over, came.len()), (3, 3), "as many as an equal share");
        assert_eq!(held.len(), 4, "what is left");
    }
}
