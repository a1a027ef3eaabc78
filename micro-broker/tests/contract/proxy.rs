//! A TCP proxy that can cut every connection and refuse new ones, or keep from the server what its clients send.

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Stands between a client and a server.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) port: u16,
    cut: watch::Sender<bool>,
    held: watch::Sender<bool>,
}

impl Proxy {
    pub(crate) async fn before(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (cut, is_cut) = watch::channel(false);
        let (held, is_held) = watch::channel(false);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let (mut is_cut, is_held) = (is_cut.clone(), is_held.clone());
                tokio::spawn(async move {
                    if *is_cut.borrow() {
                        return;
                    }
                    let Ok(mut server) = TcpStream::connect(("127.0.0.1", server)).await else { return };
                    tokio::select! {
                        _ = forward(&mut client, &mut server, is_held) => {}
                        _ = is_cut.wait_for(|cut| *cut) => {}
                    }
                });
            }
        });
        Self { port, cut, held }
    }

    pub(crate) fn cut(&self, cut: bool) {
        self.cut.send_replace(cut);
    }

    /// Reads no more from the clients, as a server does that is short of memory; what the server says comes through.
    #[cfg(feature = "rabbitmq")]
    pub(crate) fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }
}

async fn forward(client: &mut TcpStream, server: &mut TcpStream, mut held: watch::Receiver<bool>) {
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.split(), server.split());
    let up = async {
        let mut buffer = vec![0; 64 << 10];
        while held.wait_for(|held| !*held).await.is_ok() {
            let read = from_client.read(&mut buffer).await.unwrap_or(0);
            if read == 0 || to_server.write_all(&buffer[..read]).await.is_err() {
                break;
            }
        }
    };
    tokio::select! {
        () = up => {}
        _ = copy(&mut from_server, &mut to_client) => {}
    }
}
