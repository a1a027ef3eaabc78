//! Logins: a token or a password, and a cookie for browsers that have shown it.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use argon2::{Argon2, PasswordHash, PasswordVerifier};
use http::{HeaderMap, header};
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

use crate::places::Places;

/// For how long a browser stays logged in.
const LASTS: Duration = Duration::from_secs(12 * 3600);
/// How many browsers may be logged in; one more ends the oldest's session.
const SESSIONS: usize = 1024;
/// How long a wrong password is thought about, one at a time.
const PENALTY: Duration = Duration::from_millis(500);
/// How many logins wait to be thought about …
const WAITING: usize = 16;
/// … and how many of them may be of one address, so that who guesses keeps nobody else out.
const WAITING_EACH: usize = 4;

/// The cookie of a session.
pub(super) const COOKIE: &str = "micro-web";

type Digest = [u8; 32];

/// What proves that one may use the dashboard. Clones share the sessions.
#[derive(Clone)]
pub struct Login {
    secret: Secret,
    sessions: Arc<Mutex<HashMap<Digest, Instant>>>,
    one: Arc<Semaphore>,
    waiting: Places,
}

#[derive(Clone)]
enum Secret {
    Token(Digest),
    Password(Arc<str>),
}

/// Why nobody is logged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The secret is not right.
    Wrong,
    /// It was not looked at: too many wait for that.
    Busy,
}

/// The text is no password hash of argon2.
#[derive(Debug, thiserror::Error)]
#[error("a password hash is a text such as $argon2id$v=19$m=19456,t=2,p=1$SALT$HASH: {0}")]
pub struct InvalidHash(argon2::password_hash::Error);

impl Login {
    /// By `token`.
    pub fn token(token: &str) -> Self {
        Self::by(Secret::Token(hash(token)))
    }

    /// By the password whose hash by argon2 is `hash`, in PHC form.
    ///
    /// # Errors
    ///
    /// [`InvalidHash`].
    pub fn password_hash(hash: &str) -> Result<Self, InvalidHash> {
        PasswordHash::new(hash).map_err(InvalidHash)?;
        Ok(Self::by(Secret::Password(hash.into())))
    }

    fn by(secret: Secret) -> Self {
        let one = Arc::new(Semaphore::new(1));
        Self { secret, sessions: Arc::default(), one, waiting: Places::new(WAITING, WAITING_EACH) }
    }

    /// Whether `headers` carry the token, or the cookie of a session that goes on.
    pub(super) fn knows(&self, headers: &HeaderMap) -> bool {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let bearer = text(header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
        if let (Some(bearer), Secret::Token(token)) = (bearer, &self.secret) {
            // Digests are compared, so what the time it takes tells is of no use.
            return hash(bearer) == *token;
        }
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut ours =
            cookies.flat_map(|value| value.split("; ")).filter_map(|cookie| cookie.split_once('='));
        ours.any(|(name, value)| {
            name == COOKIE && self.sessions().get(&hash(value)).is_some_and(|end| *end > Instant::now())
        })
    }

    /// The cookie of a new session, if `secret` is right, which comes from `address`. Wrong ones are answered slowly, and one
    /// at a time.
    pub(super) async fn log_in(
        &self,
        secret: &str,
        address: Option<IpAddr>,
        secure: bool,
    ) -> Result<String, Refused> {
        if !self.thought_about(secret.to_owned(), address).await? {
            return Err(Refused::Wrong);
        }
        let mut bytes = [0; 32];
        SystemRandom::new().fill(&mut bytes).map_err(|_| Refused::Busy)?;
        let session: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut sessions = self.sessions();
        let now = Instant::now();
        sessions.retain(|_, end| *end > now);
        if sessions.len() >= SESSIONS {
            let oldest = sessions.iter().min_by_key(|(_, end)| **end).map(|(session, _)| *session);
            oldest.and_then(|oldest| sessions.remove(&oldest));
        }
        sessions.insert(hash(&session), now + LASTS);
        let secure = if secure { "; Secure" } else { "" };
        Ok(format!(
            "{COOKIE}={session}; Path=/; HttpOnly; SameSite=Strict; Max-Age={}{secure}",
            LASTS.as_secs()
        ))
    }

    /// Ends the session of `headers`, and gives the cookie that says so.
    pub(super) fn log_out(&self, headers: &HeaderMap) -> String {
        for value in headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok()) {
            for (_, value) in value.split("; ").filter_map(|cookie| cookie.split_once('=')) {
                self.sessions().remove(&hash(value));
            }
        }
        format!("{COOKIE}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0")
    }

    /// Whether `secret` is right, which takes its time if it is not. A task of its own takes it, so that whoever guesses has no
    /// use of hanging up.
    async fn thought_about(&self, secret: String, address: Option<IpAddr>) -> Result<bool, Refused> {
        let waiting = self.waiting.take(address).map_err(|_| Refused::Busy)?;
        let login = self.clone();
        let thinking = tokio::spawn(async move {
            let _waiting = waiting;
            let Ok(_one) = login.one.acquire().await else { return false };
            let right = login.is_right(secret).await;
            if !right {
                sleep(PENALTY).await;
            }
            right
        });
        Ok(thinking.await.unwrap_or(false))
    }

    async fn is_right(&self, secret: String) -> bool {
        match &self.secret {
            Secret::Token(token) => hash(&secret) == *token,
            Secret::Password(known) => {
                let known = known.clone();
                // Argon2 takes its time, which is not to be the other requests'.
                let right = tokio::task::spawn_blocking(move || {
                    let known = PasswordHash::new(&known);
                    known.is_ok_and(|known| {
                        Argon2::default().verify_password(secret.as_bytes(), &known).is_ok()
                    })
                });
                right.await.unwrap_or(false)
            }
        }
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<Digest, Instant>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn hash(text: &str) -> Digest {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
    out
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use argon2::PasswordHasher;
    use argon2::password_hash::SaltString;
    use http::HeaderValue;

    use super::*;

    fn with(name: http::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())])
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_begins_with_the_token_and_ends_with_the_day() {
        let login = Login::token("open sesame");
        assert!(login.log_in("open", None, false).await.is_err());
        let cookie = login.log_in("open sesame", None, false).await.unwrap();
        let cookie = with(header::COOKIE, cookie.split(';').next().unwrap());
        assert!(login.knows(&cookie) && login.knows(&with(header::AUTHORIZATION, "Bearer open sesame")));
        assert!(!login.knows(&with(header::COOKIE, "micro-web=guess")) && !login.knows(&HeaderMap::new()));

        login.log_out(&cookie);
        assert!(!login.knows(&cookie));
        let cookie = login.log_in("open sesame", None, false).await.unwrap();
        let cookie = with(header::COOKIE, cookie.split(';').next().unwrap());
        tokio::time::advance(LASTS).await;
        assert!(!login.knows(&cookie));
    }

    #[tokio::test(start_paused = true)]
    async fn who_guesses_and_hangs_up_keeps_the_next_waiting_all_the_same() {
        let login = Login::token("open sesame");
        let began = Instant::now();
        let guess = tokio::time::timeout(Duration::from_millis(1), login.log_in("open", None, false)).await;
        assert!(guess.is_err(), "it is thought about");
        assert!(login.log_in("open sesame", None, false).await.is_ok());
        assert!(began.elapsed() >= PENALTY, "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_not_listened_to_is_not_told_that_the_password_is_wrong() {
        let login = Login::token("open sesame");
        let from = |last: usize| Some(IpAddr::from([192, 0, 2, u8::try_from(last).unwrap()]));
        let guesses = (0..WAITING).map(|at| login.log_in("open", from(at / WAITING_EACH), false));
        let guesses = futures_util::future::join_all(guesses);
        let last = async {
            tokio::task::yield_now().await;
            login.log_in("open sesame", from(9), false).await
        };
        let (guessed, last) = tokio::join!(guesses, last);
        assert!(guessed.iter().all(|guess| *guess == Err(Refused::Wrong)));
        assert_eq!(last, Err(Refused::Busy));
        assert!(login.log_in("open sesame", from(9), false).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn who_guesses_without_end_keeps_nobody_at_another_address_out() {
        let login = Login::token("open sesame");
        let guesses = (0..100).map(|at| {
            let own = if at % 2 == 0 { "2001:db8::1" } else { "2001:db8::2" };
            login.log_in("open", Some(own.parse().unwrap()), false)
        });
        let guesses = futures_util::future::join_all(guesses);
        let other = async {
            tokio::task::yield_now().await;
            login.log_in("open sesame", Some("2001:db8:0:1::1".parse().unwrap()), false).await
        };
        let (guessed, other) = tokio::join!(guesses, other);
        assert!(other.is_ok(), "{other:?}");
        assert_eq!(guessed.iter().filter(|guess| **guess == Err(Refused::Wrong)).count(), WAITING_EACH);
    }

    #[tokio::test]
    async fn a_password_is_known_by_its_hash() {
        let salt = SaltString::from_b64("c2FsdHNhbHQ").unwrap();
        let hash = Argon2::default().hash_password(b"hunter2", &salt).unwrap().to_string();
        assert!(Login::password_hash("hunter2").is_err());
        let login = Login::password_hash(&hash).unwrap();
        assert!(login.log_in("wrong", None, false).await.is_err());
        assert!(login.log_in("hunter2", None, false).await.is_ok());
        assert!(!format!("{login:?}").contains("argon2"));
    }
}
