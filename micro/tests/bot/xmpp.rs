//! The bot at a real prosody, with a second client speaking to it.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use futures_util::StreamExt;
use micro::bot::xmpp::{Security, Xmpp};
use micro::bot::{Bot, Input, Rights};
use tokio::time::timeout;
use tokio_xmpp::Stanza;
use tokio_xmpp::connect::{DnsConfig, TcpServerConnector};
use tokio_xmpp::stanzastream::{Event, StanzaStream, StreamEvent};
use tokio_xmpp::xmlstream::Timeouts;
use xmpp_parsers::jid::{BareJid, Jid};
use xmpp_parsers::message::{Id, Lang, Message, MessageType};
use xmpp_parsers::muc::Muc;
use xmpp_parsers::presence::Presence;

use crate::chat::registry;
use crate::free::free;

/// How long anything may take on a machine with much to do.
const PATIENCE: Duration = Duration::from_secs(120);
const BOT: &str = "bot@localhost";
const ROOM: &str = "ops@rooms.localhost";

/// A program that ends with this.
struct Running(Child);

impl Running {
    fn end(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

/// A prosody of its own, which ends with this.
struct Prosody {
    child: Running,
    dir: tempfile::TempDir,
    address: SocketAddr,
    /// Where TLS is spoken from the first byte.
    tls: SocketAddr,
}

impl Prosody {
    fn start() -> Option<Self> {
        if !["/usr/bin/prosody", "/usr/sbin/prosody"].iter().any(|path| Path::new(path).exists()) {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "no prosody on this machine");
            println!("skipped: no prosody on PATH");
            return None;
        }
        let (address, tls) = (free(), free());
        let dir = tempfile::tempdir().unwrap();
        // Nobody on this machine knows who has signed it.
        let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(dir.path().join("cert.pem"), certified.cert.pem()).unwrap();
        std::fs::write(dir.path().join("key.pem"), certified.signing_key.serialize_pem()).unwrap();
        let (path, port, tls_port) = (dir.path().display(), address.port(), tls.port());
        let config = format!(
            r#"pidfile = "{path}/pid"
data_path = "{path}/data"
log = {{ info = "{path}/log" }}
run_as_root = true
interfaces = {{ "127.0.0.1" }}
c2s_ports = {{ {port} }}
c2s_direct_tls_ports = {{ {tls_port} }}
ssl = {{ certificate = "{path}/cert.pem", key = "{path}/key.pem" }}
s2s_ports = {{}}
modules_enabled = {{ "roster", "saslauth", "disco", "ping", "presence", "message", "iq", "tls" }}
modules_disabled = {{ "s2s", "http" }}
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
authentication = "internal_plain"
VirtualHost "localhost"
Component "rooms.localhost" "muc"
restrict_room_creation = false
muc_room_locking = false
muc_room_default_public_jids = true
"#
        );
        std::fs::write(dir.path().join("prosody.cfg.lua"), config).unwrap();
        std::fs::create_dir(dir.path().join("data")).unwrap();
        let prosody = Self { child: Self::run(dir.path()), dir, address, tls };
        for user in ["bot", "ann", "bob"] {
            let done = Command::new("prosodyctl")
                .args(["--config", prosody.config().as_str(), "register", user, "localhost", "secret"])
                .output()
                .unwrap();
            assert!(done.status.success(), "{done:?}");
        }
        Some(prosody)
    }

    fn run(dir: &Path) -> Running {
        let config = dir.join("prosody.cfg.lua");
        let mut prosody = Command::new("prosody");
        prosody.arg("-F").arg("--config").arg(config).stdout(Stdio::null()).stderr(Stdio::null());
        Running(prosody.spawn().unwrap())
    }

    fn config(&self) -> String {
        self.dir.path().join("prosody.cfg.lua").display().to_string()
    }

    fn restart(&mut self) {
        self.child.end();
        self.child = Self::run(self.dir.path());
    }

    /// A client that is online, as soon as the server is.
    async fn client(&self, user: &str) -> Client {
        let jid = Jid::from(BareJid::new(&format!("{user}@localhost")).unwrap());
        let server = TcpServerConnector::from(DnsConfig::addr(&self.address.to_string()));
        let mut stream = StanzaStream::new_c2s(server, jid, "secret".to_owned(), Timeouts::tight(), 16);
        let online =
            async { while !matches!(stream.next().await, Some(Event::Stream(StreamEvent::Reset { .. }))) {} };
        timeout(PATIENCE, online).await.unwrap_or_else(|_| panic!("prosody does not let {user} in"));
        let mut client = Client(stream);
        client.send(Presence::available()).await;
        client
    }
}

/// Somebody who speaks with the bot.
struct Client(StanzaStream);

impl Client {
    async fn send(&mut self, stanza: impl Into<Stanza>) {
        self.0.send(Box::new(stanza.into())).await;
    }

    /// Says `text` in a message called `id`.
    async fn say(&mut self, kind: MessageType, to: &str, text: &str, id: &str) {
        let message = Message::new_with_type(kind, Some(Jid::new(to).unwrap()));
        let mut message = message.with_body(Lang::default(), text.to_owned());
        message.id = Some(Id(id.to_owned()));
        self.send(message).await;
    }

    /// The next message that one who is called `from` says, and that has `wanted`.
    async fn hear(&mut self, from: &str, wanted: &str) -> String {
        loop {
            let event = self.0.next().await.expect("the server has gone");
            let Event::Stanza(Stanza::Message(message)) = event else { continue };
            let is_from = message.from.as_ref().is_some_and(|jid| jid.to_string().starts_with(from));
            let body = message.get_best_body(vec![""]).map(|(_, body)| body.clone());
            if let Some(body) = body.filter(|body| is_from && body.contains(wanted)) {
                return body;
            }
        }
    }

    /// Says `text`, again and again until the bot is there, and waits for an answer that has `wanted`.
    async fn ask(&mut self, kind: MessageType, to: &str, text: &str, from: &str, wanted: &str) -> String {
        let asked = async {
            loop {
                self.say(kind.clone(), to, text, &fastrand::u64(..).to_string()).await;
                // No speaker may say more, for long.
                if let Ok(answer) = timeout(Duration::from_secs(2), self.hear(from, wanted)).await {
                    return answer;
                }
            }
        };
        timeout(PATIENCE, asked)
            .await
            .unwrap_or_else(|_| panic!("the bot does not answer {text:?} with {wanted:?}"))
    }

    /// The same, alone with it.
    async fn ask_alone(&mut self, text: &str, wanted: &str) -> String {
        self.ask(MessageType::Chat, BOT, text, BOT, wanted).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_spoken_with_alone_and_in_rooms_and_comes_back() {
    let Some(mut prosody) = Prosody::start() else { return };
    let mut ann = prosody.client("ann").await;
    let xmpp =
        Xmpp::new(BOT, "secret").unwrap().server(prosody.address.to_string()).security(Security::Plain);
    let xmpp = xmpp.room(ROOM).unwrap();
    let rights = Rights::new().change(["xmpp:ann@localhost"]).unwrap();
    let context = registry("xmpp").await;
    let bot = Bot::builder(context.clone()).rights(rights).build(vec![Box::new(xmpp)]).unwrap();
    let bot = tokio::spawn(bot.run());

    assert_eq!(ann.ask_alone("ping", "pong").await, "pong");
    ann.ask_alone("list", "greeter").await;

    // A server may deliver again what it is not sure of.
    for _ in 0..2 {
        ann.say(MessageType::Chat, BOT, "echo m-1", "m-1").await;
    }
    assert_eq!(timeout(PATIENCE, ann.hear(BOT, "m-")).await.unwrap(), "m-1");
    ann.say(MessageType::Chat, BOT, "echo m-2", "m-2").await;
    assert_eq!(
        timeout(PATIENCE, ann.hear(BOT, "m-")).await.unwrap(),
        "m-2",
        "what came twice is answered once"
    );

    let here = Presence::available().with_to(Jid::new(&format!("{ROOM}/Ann")).unwrap());
    ann.send(here.with_payload(Muc::new())).await;
    let in_room = format!("{ROOM}/bot");
    assert_eq!(ann.ask(MessageType::Groupchat, ROOM, "bot: ping", &in_room, "pong").await, "Ann: pong");
    // A room shows whose its nicknames are, and ann may change things there as well; what names nobody is talk.
    ann.say(MessageType::Groupchat, ROOM, "deregister greeter --all", "talk").await;
    let time = ann.ask(MessageType::Groupchat, ROOM, "bot, time", &in_room, "time is").await;
    assert!(time.starts_with("Ann: "), "{time}");

    let mut bob = prosody.client("bob").await;
    bob.ask_alone("deregister greeter --all", "you may not deregister").await;
    assert_eq!(context.registry().get("greeter").await.unwrap().len(), 1);

    prosody.restart();
    let mut ann = prosody.client("ann").await;
    assert_eq!(ann.ask_alone("ping", "pong").await, "pong");
    ann.ask_alone("deregister greeter --all", "").await;
    assert!(context.registry().get("greeter").await.unwrap().is_empty());
    bot.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_know_it_says_so() {
    let Some(prosody) = Prosody::start() else { return };
    drop(prosody.client("ann").await);
    let xmpp =
        Xmpp::new(BOT, "a guess").unwrap().server(prosody.address.to_string()).security(Security::Plain);
    let (heard, _hears) = tokio::sync::mpsc::channel(1);
    let refused = timeout(PATIENCE, xmpp.run(heard)).await.unwrap().unwrap_err().to_string();
    assert!(refused.contains("NotAuthorized"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_it_speaks_with_a_server_whose_certificate_it_trusts_and_with_no_other() {
    let Some(prosody) = Prosody::start() else { return };
    let mut ann = prosody.client("ann").await;
    for (security, tls, address) in [
        (Security::StartTls, "starttls", prosody.address.to_string()),
        (Security::DirectTls, "tls", prosody.tls.to_string()),
    ] {
        let stranger = Xmpp::new(BOT, "secret").unwrap().server(address.as_str()).security(security);
        let (heard, _hears) = tokio::sync::mpsc::channel(1);
        let refused = timeout(PATIENCE, stranger.run(heard)).await.unwrap().unwrap_err();
        assert!(format!("{refused:?}").contains("UnknownIssuer"), "{tls}: {refused:?}");

        let mut bot = Command::new(env!("CARGO_BIN_EXE_micro"));
        bot.args(["bot", "--inputs", "xmpp", "--xmpp-jid", BOT, "--xmpp-password", "secret"]);
        bot.args(["--xmpp-server", &address, "--xmpp-tls", tls, "--registry", "memory:"]);
        bot.env("SSL_CERT_FILE", prosody.dir.path().join("cert.pem"));
        let bot = Running(bot.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap());
        assert_eq!(ann.ask_alone("ping", "pong").await, "pong", "{tls}");
        drop(bot);
    }
}
