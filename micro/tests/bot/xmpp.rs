//! The bot at a real prosody, with a second client speaking to it.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use futures_util::StreamExt;
use micro::bot::xmpp::{Security, Xmpp};
use micro::bot::{Bot, Rights};
use tokio_xmpp::connect::DnsConfig;
use tokio_xmpp::xmlstream::Timeouts;
use tokio_xmpp::{Client, Event, Stanza};
use xmpp_parsers::jid::{BareJid, Jid};
use xmpp_parsers::message::{Lang, Message, MessageType};
use xmpp_parsers::muc::Muc;
use xmpp_parsers::presence::Presence;

use crate::chat::registry;

/// A prosody of its own, which ends with this.
struct Prosody {
    child: Child,
    dir: tempfile::TempDir,
    port: u16,
}

impl Drop for Prosody {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Prosody {
    fn start() -> Option<Self> {
        if !["/usr/bin/prosody", "/usr/sbin/prosody"].iter().any(|path| Path::new(path).exists()) {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "no prosody on this machine");
            println!("skipped: no prosody on PATH");
            return None;
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().display();
        let config = format!(
            r#"pidfile = "{path}/pid"
data_path = "{path}/data"
log = {{ info = "{path}/log" }}
run_as_root = true
interfaces = {{ "127.0.0.1" }}
c2s_ports = {{ {port} }}
s2s_ports = {{}}
modules_enabled = {{ "roster", "saslauth", "disco", "ping", "presence", "message", "iq" }}
modules_disabled = {{ "s2s", "tls", "http" }}
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
        let prosody = Self { child: Self::run(dir.path()), dir, port };
        for user in ["bot", "ann", "bob"] {
            let done = Command::new("prosodyctl")
                .args(["--config", prosody.config().as_str(), "register", user, "localhost", "secret"])
                .output()
                .unwrap();
            assert!(done.status.success(), "{done:?}");
        }
        Some(prosody)
    }

    fn run(dir: &Path) -> Child {
        let config = dir.join("prosody.cfg.lua");
        let mut prosody = Command::new("prosody");
        prosody.arg("-F").arg("--config").arg(config).stdout(Stdio::null()).stderr(Stdio::null());
        prosody.spawn().unwrap()
    }

    fn config(&self) -> String {
        self.dir.path().join("prosody.cfg.lua").display().to_string()
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn restart(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = Self::run(self.dir.path());
    }

    /// A client that is online, as soon as the server is.
    async fn client(&self, user: &str) -> Client {
        let jid = Jid::from(BareJid::new(&format!("{user}@localhost")).unwrap());
        for _ in 0..200 {
            let server = DnsConfig::addr(&self.address());
            let mut client = Client::new_plaintext(jid.clone(), "secret", server, Timeouts::tight());
            let event = tokio::time::timeout(Duration::from_secs(5), client.next()).await;
            if matches!(event, Ok(Some(Event::Online { .. }))) {
                client.send_stanza(Presence::available().into()).await.unwrap();
                return client;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("prosody does not let {user} in");
    }
}

/// Says `text`, again and again until the bot is there, and gives its answer.
async fn ask(client: &mut Client, kind: MessageType, to: &str, text: &str, from: &str) -> String {
    for _ in 0..60 {
        let message = Message::new_with_type(kind.clone(), Some(Jid::new(to).unwrap()));
        client.send_stanza(message.with_body(Lang::default(), text.to_owned()).into()).await.unwrap();
        let answer = async {
            while let Some(event) = client.next().await {
                let Event::Stanza(Stanza::Message(message)) = event else { continue };
                let wanted = message.from.as_ref().is_some_and(|jid| jid.to_string().starts_with(from));
                if let Some((_, body)) =
                    message.get_best_body(vec![""]).filter(|_| wanted && message.type_ == kind)
                {
                    return body.clone();
                }
            }
            panic!("the server has gone");
        };
        if let Ok(answer) = tokio::time::timeout(Duration::from_secs(1), answer).await {
            return answer;
        }
    }
    panic!("the bot does not answer {text:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_spoken_with_alone_and_in_rooms_and_comes_back() {
    let Some(mut prosody) = Prosody::start() else { return };
    let mut ann = prosody.client("ann").await;
    let xmpp = Xmpp::new("bot@localhost", "secret").unwrap();
    let xmpp = xmpp.server(prosody.address()).security(Security::Plain).room("ops@rooms.localhost").unwrap();
    let rights = Rights::new().change(["xmpp:ann@localhost"]).unwrap();
    let context = registry("xmpp").await;
    let bot = Bot::builder(context.clone()).rights(rights).build(vec![Box::new(xmpp)]).unwrap();
    let bot = tokio::spawn(bot.run());

    assert_eq!(ask(&mut ann, MessageType::Chat, "bot@localhost", "ping", "bot@localhost").await, "pong");
    assert!(
        ask(&mut ann, MessageType::Chat, "bot@localhost", "list", "bot@localhost").await.contains("greeter")
    );

    let room = Jid::new("ops@rooms.localhost/Ann").unwrap();
    let here = Presence::available().with_to(room).with_payload(Muc::new());
    ann.send_stanza(here.into()).await.unwrap();
    let from = "ops@rooms.localhost/bot";
    let answer = ask(&mut ann, MessageType::Groupchat, "ops@rooms.localhost", "bot: ping", from).await;
    assert_eq!(answer, "Ann: pong");

    let mut bob = prosody.client("bob").await;
    let refused = "deregister greeter --all";
    let answer = ask(&mut bob, MessageType::Chat, "bot@localhost", refused, "bot@localhost").await;
    assert!(answer.contains("you may not deregister"), "{answer}");
    assert_eq!(context.registry().get("greeter").await.unwrap().len(), 1);

    prosody.restart();
    let mut ann = prosody.client("ann").await;
    assert_eq!(ask(&mut ann, MessageType::Chat, "bot@localhost", "ping", "bot@localhost").await, "pong");
    ask(&mut ann, MessageType::Chat, "bot@localhost", "deregister greeter --all", "bot@localhost").await;
    assert!(context.registry().get("greeter").await.unwrap().is_empty());
    bot.abort();
}
