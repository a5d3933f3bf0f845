//! Servers restarted and killed under load. They are this test's own: the shared ones serve other tests at the same time.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use lastword::core::dialect::Dialect;

use super::super::kafka::{Topic, Writer};
use super::super::process::Process;
use super::super::support::{PATIENCE, Services, World};
use super::super::traffic::{Form, Shape, Traffic};
use crate::support::random::seed;

/// An instance of `tests/services` on ports of its own; removed when it is dropped.
struct Private {
    dir: tempfile::TempDir,
}

impl Private {
    fn start() -> (Self, Services) {
        let private = Self { dir: tempfile::TempDir::new().expect("a folder") };
        private.run(&["start"]);
        let text = private.run(&["env"]);
        let variable = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(&format!("export {name}=")));
            line.unwrap_or_else(|| panic!("no {name} in {text}")).to_owned()
        };
        let services = Services {
            kafka: variable("LASTWORD_TEST_KAFKA"),
            postgres: variable("LASTWORD_TEST_POSTGRES"),
            mariadb: variable("LASTWORD_TEST_MARIADB"),
        };
        (private, services)
    }

    fn run(&self, args: &[&str]) -> String {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services");
        let mut command = Command::new(script);
        command.args(args).env("LASTWORD_SERVICES_DIR", self.dir.path());
        for port in ["KAFKA", "KAFKA_CONTROLLER", "KAFKA_SASL", "POSTGRES", "MARIADB"] {
            command.env_remove(format!("LASTWORD_{port}_PORT"));
        }
        let output = command.output().expect("tests/services");
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services");
        let _ = Command::new(script).arg("clean").env("LASTWORD_SERVICES_DIR", self.dir.path()).output();
    }
}

/// A pipeline under load.
struct Load {
    world: World,
    topic: Topic,
    traffic: Traffic,
    live: Process,
}

impl Load {
    async fn start(services: &Services, dialect: Dialect) -> Self {
        let world = World::new(services, dialect, "restart").await;
        let topic = world.topic("orders", 4).await;
        world.configure(&[(&topic.name, "orders")], "", "[batch]\nrows = 100\n");
        let traffic = Traffic::new(seed(), Shape { partitions: 4, keys: 500, form: Form::Schemas });
        let live = world.start(&["run"]);
        Self { world, topic, traffic, live }
    }

    /// Writes while something happens, until it has ended; then everything has to be right.
    async fn during(&mut self, act: impl FnOnce() + Send + 'static) {
        let act = tokio::task::spawn_blocking(act);
        let writer = self.topic.writer(&[]);
        while !act.is_finished() {
            writer.send(&self.traffic.stretch(200));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        act.await.expect("it was done");
        self.recovers(writer).await;
    }

    /// Takes the database away while records come, and brings it back when the pipeline has noticed: a server that comes back
    /// before a batch wanted it would test nothing.
    async fn outage(&mut self, server: &Private, take: [&str; 2]) {
        let writer = self.topic.writer(&[]);
        for _ in 0..5 {
            writer.send(&self.traffic.stretch(200));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let noticed = |live: &Process| live.log().matches("trying again").count();
        let before = noticed(&self.live);
        tokio::task::block_in_place(|| server.run(&take));
        let deadline = Instant::now() + PATIENCE;
        while noticed(&self.live) == before {
            assert!(Instant::now() < deadline, "nobody noticed the outage: {}", self.live.log());
            writer.send(&self.traffic.stretch(200));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        tokio::task::block_in_place(|| server.run(&["start-one", take[1]]));
        self.recovers(writer).await;
    }

    async fn recovers(&mut self, writer: Writer) {
        writer.send(&self.traffic.stretch(500));
        writer.flush();
        self.world.caught_up(&self.topic).await;
        assert!(self.live.running(), "it goes on by itself: {}", self.live.log());
        self.world.check(&self.topic, "orders", self.traffic.rows()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_are_restarted_or_killed_under_load_lose_and_double_nothing() {
    let (private, services) = Private::start();
    let private = std::sync::Arc::new(private);
    for (dialect, name) in [(Dialect::Postgres, "postgres"), (Dialect::Mysql, "mariadb")] {
        let mut load = Load::start(&services, dialect).await;
        load.outage(&private, ["stop-one", name]).await;
        load.outage(&private, ["kill", name]).await;
        let server = private.clone();
        load.during(move || drop(server.run(&["restart", name]))).await;
        let server = private.clone();
        load.during(move || drop(server.run(&["restart", "kafka"]))).await;
        let summary = load.live.stop().await.json();
        println!("{name}: {summary}");
    }
}
