//! A connection to an XMPP server, logged in.
//!
//! The library has a client that keeps one for ever. Its reader sleeps on where another thread sends at that moment, and
//! it goes on connecting after it was dropped; so the stream of stanzas is driven here.

use std::borrow::Cow;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use sasl::common::Credentials;
use tokio::time::timeout;
use tokio_xmpp::connect::ServerConnector;
use tokio_xmpp::stanzastream::XmppStream;
use tokio_xmpp::xmlstream::{
    FallibleStreamElement, ReadError, StreamElementError, StreamHeader, Timeouts, XmppStreamElement,
};
use tokio_xmpp::{Stanza, client_login};
use tower::BoxError;
use xmpp_parsers::bind::BindQuery;
use xmpp_parsers::iq::Iq;
use xmpp_parsers::jid::{BareJid, Jid};
use xmpp_parsers::ns::JABBER_CLIENT;

/// When a server has said nothing for this long it is to be asked, and given up after as long again.
const SILENCE: Duration = Duration::from_secs(10);
/// How long the server may take to take what it is sent.
const TAKE_WITHIN: Duration = Duration::from_secs(5);
/// What the question for an address of one's own is called.
const BIND: &str = "bind";

/// A connection, which ends when this is dropped.
pub(super) struct Line(XmppStream);

impl Line {
    /// Connects to `server` as `jid`.
    ///
    /// # Errors
    ///
    /// Why that cannot be, such as a wrong password.
    pub(super) async fn connect(
        server: &impl ServerConnector,
        jid: &BareJid,
        password: &str,
    ) -> Result<Self, BoxError> {
        let timeouts = Timeouts { read_timeout: SILENCE, response_timeout: SILENCE };
        let user = jid.node().ok_or("the address has no user")?.as_str();
        let (pending, binding) = server.connect(&Jid::from(jid.clone()), JABBER_CLIENT, timeouts).await?;
        let (features, stream) = pending.recv_features().await?;
        let credentials = Credentials::default().with_username(user).with_password(password);
        let credentials = credentials.with_channel_binding(binding);
        let stream = client_login(stream, features.sasl_mechanisms, credentials).await?;
        let to = Some(Cow::Borrowed(jid.domain().as_str()));
        let pending = stream.send_header(StreamHeader { to, from: None, id: None }).await?;
        let (_, stream) = pending.recv_features().await?;
        let mut line = Self(stream.box_stream());
        line.bind().await?;
        Ok(line)
    }

    /// Has the server say which of the account's addresses is this connection's.
    async fn bind(&mut self) -> Result<(), BoxError> {
        self.send(&Iq::from_set(BIND, BindQuery::new(None)).into()).await?;
        loop {
            match self.next().await? {
                Some(Stanza::Iq(Iq::Result { id, .. })) if id == BIND => return Ok(()),
                Some(Stanza::Iq(Iq::Error { id, error, .. })) if id == BIND => {
                    return Err(format!("the server gives no address: {:?}", error.defined_condition).into());
                }
                Some(_) | None => {}
            }
        }
    }

    /// What comes next; nothing when nothing has for so long that the server is to be asked something. No stanza is lost
    /// when this is dropped before it has come.
    ///
    /// # Errors
    ///
    /// How the connection ends.
    pub(super) async fn next(&mut self) -> Result<Option<Stanza>, BoxError> {
        loop {
            match self.0.next().await {
                Some(Ok(FallibleStreamElement::Ok(XmppStreamElement::Stanza(stanza)))) => {
                    return Ok(Some(stanza));
                }
                Some(Ok(FallibleStreamElement::Ok(XmppStreamElement::StreamError(error)))) => {
                    return Err(error.into());
                }
                // What nobody has asked for means nothing here, nor does a stanza that says what it may not.
                Some(Ok(
                    FallibleStreamElement::Ok(_)
                    | FallibleStreamElement::Err(StreamElementError::InvalidStanza { .. }),
                )) => {}
                Some(Ok(FallibleStreamElement::Err(error))) => return Err(error.into()),
                Some(Err(ReadError::SoftTimeout)) => return Ok(None),
                Some(Err(ReadError::HardError(error))) => return Err(error.into()),
                Some(Err(ReadError::ParseError(error))) => return Err(error.into()),
                Some(Err(ReadError::StreamFooterReceived)) | None => {
                    return Err("the server has ended the connection".into());
                }
            }
        }
    }

    /// Sends `stanza`.
    ///
    /// # Errors
    ///
    /// When the connection is lost, or the server takes nothing.
    pub(super) async fn send(&mut self, stanza: &Stanza) -> Result<(), BoxError> {
        timeout(TAKE_WITHIN, self.0.send(stanza)).await.map_err(|_| "the server takes nothing")??;
        Ok(())
    }

    /// Says good-bye.
    pub(super) async fn end(mut self) {
        // Where the server does not hear it, the end of the connection says the same.
        timeout(TAKE_WITHIN, self.0.shutdown()).await.ok();
    }
}
