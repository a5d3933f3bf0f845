//! A proxy before PostgreSQL or MariaDB that does to connections what it is told: cuts one at a COMMIT, before or after the
//! server has seen it, cuts all, or holds everything up for a while. Without TLS it sees the messages.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lastword::core::dialect::Dialect;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio_util::task::AbortOnDropHandle;

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

/// How long a late COMMIT is under way.
const LATE: Duration = Duration::from_secs(3);

/// A running proxy.
pub struct Proxy {
    pub port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    dialect: Dialect,
    /// What happens at the next COMMITs.
    orders: Mutex<VecDeque<Cut>>,
    cuts: AtomicUsize,
    /// Raised when all connections are to be cut.
    generation: watch::Sender<u64>,
    /// Connections that were there when all were cut.
    dropped: AtomicUsize,
    stalled: watch::Sender<bool>,
    /// Messages and answers that had to wait.
    held: AtomicUsize,
}

impl Proxy {
    pub async fn start(server: String, dialect: Dialect) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let shared = Arc::new(Shared {
            dialect,
            orders: Mutex::default(),
            cuts: AtomicUsize::new(0),
            generation: watch::Sender::new(0),
            dropped: AtomicUsize::new(0),
            stalled: watch::Sender::new(false),
            held: AtomicUsize::new(0),
        });
        let passing = Arc::clone(&shared);
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.expect("a connection");
                // A server that is down shows as a connection that is closed at once.
                let Ok(server) = TcpStream::connect(&server).await else { continue };
                let shared = Arc::clone(&passing);
                let mut generation = shared.generation.subscribe();
                generation.mark_unchanged();
                tokio::spawn(async move {
                    tokio::select! {
                        () = pass(client, server, Arc::clone(&shared)) => {}
                        _ = generation.changed() => { shared.dropped.fetch_add(1, Ordering::Relaxed); }
                    }
                });
            }
        });
        Self { port, shared }
    }

    /// Cuts the connection that sends the next COMMIT.
    pub fn cut_at_commit(&self, cut: Cut) {
        self.shared.orders.lock().expect("orders").push_back(cut);
    }

    /// Takes back what was ordered and has not happened; how many that were.
    pub fn forget_orders(&self) -> usize {
        std::mem::take(&mut *self.shared.orders.lock().expect("orders")).len()
    }

    /// How many connections were cut at a COMMIT.
    pub fn cuts(&self) -> usize {
        self.shared.cuts.load(Ordering::Relaxed)
    }

    /// Cuts all connections; returns how many there were.
    pub async fn cut_all(&self) -> usize {
        let before = self.shared.dropped.load(Ordering::Relaxed);
        self.shared.generation.send_modify(|generation| *generation += 1);
        tokio::time::sleep(Duration::from_millis(50)).await;
        self.shared.dropped.load(Ordering::Relaxed) - before
    }

    /// Holds everything up for a while; returns how many messages had to wait.
    pub async fn stall(&self, time: Duration) -> usize {
        let before = self.shared.held.load(Ordering::Relaxed);
        self.shared.stalled.send_replace(true);
        tokio::time::sleep(time).await;
        self.shared.stalled.send_replace(false);
        self.shared.held.load(Ordering::Relaxed) - before
    }
}

impl Shared {
    fn order(&self) -> Option<Cut> {
        let cut = self.orders.lock().expect("orders").pop_front()?;
        self.cuts.fetch_add(1, Ordering::Relaxed);
        Some(cut)
    }

    async fn gate(&self) {
        let mut stalled = self.stalled.subscribe();
        if *stalled.borrow() {
            self.held.fetch_add(1, Ordering::Relaxed);
            let _ = stalled.wait_for(|stalled| !stalled).await;
        }
    }
}

async fn pass(client: TcpStream, server: TcpStream, shared: Arc<Shared>) {
    // Otherwise every answer waits for the acknowledgement of the one before.
    client.set_nodelay(true).expect("an option");
    server.set_nodelay(true).expect("an option");
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let mute = Arc::new(Notify::new());
    let answers = pass_answers(from_server, to_client, Arc::clone(&mute), Arc::clone(&shared));
    let answers = AbortOnDropHandle::new(tokio::spawn(answers));
    // An error is one side that hung up: the other side is let go too.
    let _ = pass_messages(from_client, to_server, &shared, &mute, &answers).await;
}

/// Everything that the server says, until it is muted; then only until the server has said it.
async fn pass_answers(mut server: OwnedReadHalf, mut client: OwnedWriteHalf, mute: Arc<Notify>, shared: Arc<Shared>) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        tokio::select! {
            biased;
            () = mute.notified() => break,
            read = server.read(&mut buffer) => match read {
                Ok(length @ 1..) => {
                    shared.gate().await;
                    if client.write_all(&buffer[..length]).await.is_err() {
                        return;
                    }
                }
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
            if shared.dialect == Dialect::Mysql || said.windows(7).any(|window| window == b"COMMIT\0") {
                return;
            }
        }
    })
    .await;
}

/// Reads one message as it is, and its text if it is a simple query.
async fn message<'b>(
    client: &mut OwnedReadHalf,
    buffer: &'b mut Vec<u8>,
    dialect: Dialect,
    first: bool,
) -> std::io::Result<&'b [u8]> {
    // MySQL: length in three bytes, number. PostgreSQL: type, length that counts itself; the first message has no type.
    let header = if dialect == Dialect::Postgres && !first { 5 } else { 4 };
    buffer.resize(header, 0);
    client.read_exact(buffer).await?;
    let length = match dialect {
        Dialect::Postgres => {
            let number = [buffer[header - 4], buffer[header - 3], buffer[header - 2], buffer[header - 1]];
            (u32::from_be_bytes(number) as usize).saturating_sub(4)
        }
        _ => u32::from_le_bytes([buffer[0], buffer[1], buffer[2], 0]) as usize,
    };
    buffer.resize(header + length, 0);
    client.read_exact(&mut buffer[header..]).await?;
    let query = match dialect {
        Dialect::Postgres if buffer[0] == b'Q' => &buffer[header..],
        Dialect::Mysql if buffer.get(header) == Some(&3) => &buffer[header + 1..],
        _ => &[],
    };
    Ok(query)
}

async fn pass_messages(
    mut client: OwnedReadHalf,
    mut server: OwnedWriteHalf,
    shared: &Shared,
    mute: &Notify,
    answers: &AbortOnDropHandle<()>,
) -> std::io::Result<()> {
    let (mut buffer, mut first) = (Vec::new(), true);
    loop {
        let query = message(&mut client, &mut buffer, shared.dialect, first).await?;
        first = false;
        let is_commit = query.to_ascii_lowercase().starts_with(b"commit");
        shared.gate().await;
        let cut = if is_commit { shared.order() } else { None };
        match cut {
            None => {}
            Some(Cut::Before) => return Ok(()),
            Some(Cut::After) => mute.notify_one(),
            Some(Cut::Late) => {
                mute.notify_one();
                tokio::time::sleep(LATE).await;
            }
        }
        server.write_all(&buffer).await?;
        if cut.is_some() {
            while !answers.is_finished() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            return Ok(());
        }
    }
}
