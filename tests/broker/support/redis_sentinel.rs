//! Redis behind Sentinel: a primary, two replicas, and three sentinels that watch them.

use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use counterfoil::session_redis::RedisSettings;

use super::child::{Program, end_with_this_process, free_ports, wait_until};
use super::program::Folder;
use super::redis::{Redis, settings_of};

/// Longer than any test: what only looks silent, since the machine is busy, is not replaced.
pub const NEVER: Duration = Duration::from_hours(1);

/// Six running programs.
pub struct Sentinels {
    servers: Vec<Redis>,
    watchers: Vec<Sentinel>,
    folder: Folder,
}

struct Sentinel {
    program: Program,
    port: u16,
}

impl Sentinels {
    /// Starts them; a primary that is silent for so long is replaced.
    pub fn start(silence: Duration) -> Self {
        let folder = Folder::new();
        let ports = free_ports::<6>();
        let server = |&port: &u16| {
            let home = folder.path().join(port.to_string());
            std::fs::create_dir(&home).unwrap();
            let mut options = vec!["--repl-diskless-sync-delay", "0", "--dir", home.to_str().unwrap()];
            let primary = ports[0].to_string();
            if port != ports[0] {
                options.extend(["--replicaof", "127.0.0.1", &primary]);
            }
            Redis::start_with(port, &options)
        };
        let servers: Vec<_> = ports[..3].iter().map(server).collect();
        // A sentinel looks for replicas when it starts, and then for a while no more.
        servers[0].wait_for_replicas(2);
        let watchers = ports[3..].iter().map(|&port| Sentinel::start(port, ports[0], silence, &folder)).collect();
        let fleet = Self { servers, watchers, folder };
        wait_until("every sentinel knows every program", || fleet.watchers.iter().all(Sentinel::is_settled));
        fleet
    }

    /// Those that tests share which leave them as they are.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Sentinels> = OnceLock::new();
        SHARED.get_or_init(|| {
            let fleet = Self::start(NEVER);
            let programs = fleet.servers.iter().map(Redis::id);
            let programs = programs.chain(fleet.watchers.iter().map(|sentinel| sentinel.program.id()));
            end_with_this_process(programs, fleet.folder.path());
            fleet
        })
    }

    /// The broker's settings: it is told of the sentinels alone.
    pub fn settings(&self) -> RedisSettings {
        let [first, second, third] = [0, 1, 2].map(|index| self.watchers[index].port);
        settings_of(format!(
            "redis-sentinel://127.0.0.1:{first}/0?sentinelServiceName=mymaster&node=127.0.0.1:{second}\
             &node=127.0.0.1:{third}"
        ))
    }

    /// The primary, as all sentinels say.
    pub fn primary(&self) -> &Redis {
        wait_until("the sentinels agree", || self.named().is_some());
        let port = self.named().unwrap();
        self.servers.iter().find(|server| server.port() == port).unwrap()
    }

    /// The port of the primary, if all sentinels name the same.
    pub fn named(&self) -> Option<u16> {
        let mut ports = self.watchers.iter().map(Sentinel::primary);
        let first = ports.next()?;
        ports.all(|port| port == first).then_some(first)
    }

    /// Has the primary replaced, as before maintenance.
    pub fn fail_over(&self) {
        assert_eq!(self.watchers[0].ask(&["SENTINEL", "FAILOVER", "mymaster"]), "OK");
    }
}

impl Sentinel {
    fn start(port: u16, primary: u16, silence: Duration, folder: &Folder) -> Self {
        let file = folder.write(
            &format!("sentinel-{port}.conf"),
            &format!(
                "port {port}\nbind 127.0.0.1\ndir {}\nsentinel monitor mymaster 127.0.0.1 {primary} 2\n\
                 sentinel down-after-milliseconds mymaster {}\nsentinel failover-timeout mymaster 5000\n",
                folder.path().display(),
                silence.as_millis()
            ),
        );
        let program = Program::start(Command::new("redis-server").args([&file, "--sentinel"]));
        program.wait_for("+monitor master mymaster");
        Self { program, port }
    }

    fn ask(&self, words: &[&str]) -> String {
        let port = self.port.to_string();
        let output = Command::new("redis-cli").args(["-e", "-p", &port]).args(words).output().unwrap();
        assert!(output.status.success(), "{words:?} failed on a sentinel: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn primary(&self) -> u16 {
        let address = self.ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster"]);
        address.lines().nth(1).unwrap().parse().unwrap()
    }

    fn is_settled(&self) -> bool {
        let known = self.ask(&["SENTINEL", "MASTER", "mymaster"]);
        let lines: Vec<_> = known.lines().collect();
        let has = |name, value| lines.windows(2).any(|pair| pair == [name, value]);
        has("num-slaves", "2") && has("num-other-sentinels", "2")
    }
}
