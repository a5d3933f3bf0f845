//! A proxy before PostgreSQL that cuts connections at a COMMIT, before or after the server has seen it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// Where a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The server never sees the COMMIT.
    Before,
    /// The server commits, its answer is lost.
    After,
    /// The client is cut off, the COMMIT reaches the server seconds later.
    Late,
}

/// A running proxy.
pub struct Proxy {
    pub port: u16,
    cuts: Arc<AtomicUsize>,
}

/// Every so many commits one is cut.
const EVERY: usize = 6;

impl Proxy {
    /// Starts one that cuts at some commits of each of these kinds in turn, and no more after `most`.
    pub async fn start(server: String, kinds: &'static [Cut], most: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (commits, cuts) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&cuts);
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.expect("a connection");
                let Ok(server) = TcpStream::connect(&server).await else { continue };
                let (commits, cuts) = (Arc::clone(&commits), Arc::clone(&counted));
                let choose = move || {
                    let number = commits.fetch_add(1, Ordering::Relaxed) + 1;
                    if number % EVERY != 0 || cuts.load(Ordering::Relaxed) >= most {
                        return None;
                    }
                    Some(kinds[cuts.fetch_add(1, Ordering::Relaxed) % kinds.len()])
                };
                tokio::spawn(pass(client, server, choose));
            }
        });
        Self { port, cuts }
    }

    /// How many connections were cut.
    pub fn cuts(&self) -> usize {
        self.cuts.load(Ordering::Relaxed)
    }
}

async fn pass(client: TcpStream, server: TcpStream, choose: impl Fn() -> Option<Cut>) {
    // Otherwise every answer waits for the acknowledgement of the one before.
    client.set_nodelay(true).expect("an option");
    server.set_nodelay(true).expect("an option");
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let mute = Arc::new(Notify::new());
    let answers = tokio::spawn(pass_answers(from_server, to_client, Arc::clone(&mute)));
    // An error is one side that hung up: the other side is let go too.
    let _ = pass_messages(from_client, to_server, choose, &mute, &answers).await;
    answers.abort();
}

/// Everything that the server says, until it is muted; then only until the server has said it.
async fn pass_answers(mut server: OwnedReadHalf, mut client: OwnedWriteHalf, mute: Arc<Notify>) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        tokio::select! {
            biased;
            () = mute.notified() => break,
            read = server.read(&mut buffer) => match read {
                Ok(length @ 1..) => if client.write_all(&buffer[..length]).await.is_err() { return },
                _ => return,
            },
        }
    }
    // The client is cut off at once, the server's answer is awaited and lost.
    drop(client);
    let _ = tokio::time::timeout(Duration::from_secs(10), async {
        let mut said = Vec::new();
        while let Ok(length @ 1..) = server.read(&mut buffer).await {
            said.extend_from_slice(&buffer[..length]);
            if said.windows(7).any(|window| window == b"COMMIT\0") {
                return;
            }
        }
    })
    .await;
}

async fn pass_messages(
    mut client: OwnedReadHalf,
    mut server: OwnedWriteHalf,
    choose: impl Fn() -> Option<Cut>,
    mute: &Notify,
    answers: &tokio::task::JoinHandle<()>,
) -> std::io::Result<()> {
    // The first message has no type; TLS is off in these tests.
    let length = client.read_u32().await?;
    let mut message = vec![0; length as usize - 4];
    client.read_exact(&mut message).await?;
    server.write_u32(length).await?;
    server.write_all(&message).await?;
    loop {
        let kind = client.read_u8().await?;
        let length = client.read_u32().await?;
        message.resize(length as usize - 4, 0);
        client.read_exact(&mut message).await?;
        let is_commit = kind == b'Q' && message.to_ascii_lowercase().starts_with(b"commit");
        let cut = if is_commit { choose() } else { None };
        match cut {
            None => {}
            Some(Cut::Before) => return Ok(()),
            Some(Cut::After) => mute.notify_one(),
            Some(Cut::Late) => {
                mute.notify_one();
                tokio::time::sleep(Duration::from_secs(3)).await;
            }
        }
        let mut whole = Vec::with_capacity(message.len() + 5);
        whole.push(kind);
        whole.extend_from_slice(&length.to_be_bytes());
        whole.extend_from_slice(&message);
        server.write_all(&whole).await?;
        if cut.is_some() {
            while !answers.is_finished() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            return Ok(());
        }
    }
}
