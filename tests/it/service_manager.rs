//! What a service manager hears of the gateway: a socket stands in the place of systemd's, and a real process speaks.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::UnixDatagram;

use crate::gateway::lead_body;
use crate::leads::{Desk, says, signal, until};

/// How long anything may take; it takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);
const JSON: &str = "application/json";
/// After this time without a sign of life systemd would kill the process.
const WATCHDOG: Duration = Duration::from_secs(2);

/// One message: `NAME=value` by line.
type Told = BTreeMap<String, String>;

/// The socket that a service manager listens on, and the gateway that was started with it.
struct Manager {
    socket: UnixDatagram,
    desk: Desk,
    /// The process that took over, which nobody else ends.
    successor: Option<u32>,
}

impl Manager {
    async fn start(more: &[(&str, &str)]) -> Self {
        let mut desk = Desk::new().await;
        let path = desk.path("notify.sock");
        let socket = UnixDatagram::bind(&path).expect("bound");
        // By a link, as where each version lies in a folder of its own.
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_formgate"), desk.path("formgate")).expect("linked");
        let mut command = tokio::process::Command::new(desk.path("formgate"));
        command.args(["serve", "--log-format", "json"]).current_dir(desk.path("")).env_clear().kill_on_drop(true);
        command.env("NOTIFY_SOCKET", &path).envs(more.iter().copied()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let log = BufReader::new(child.stderr.take().expect("piped")).lines();
        desk.begin(child, log).await;
        Self { socket, desk, successor: None }
    }

    /// With a watchdog, as systemd sets it up for the process that it starts.
    async fn start_watched() -> Self {
        Self::start(&[("WATCHDOG_USEC", &WATCHDOG.as_micros().to_string())]).await
    }

    async fn next(&mut self) -> Told {
        let mut message = [0; 4096];
        let received = tokio::time::timeout(PATIENCE, self.socket.recv(&mut message)).await;
        let length = received.expect("told in time").expect("received");
        let text = std::str::from_utf8(&message[..length]).expect("text");
        text.lines().filter_map(|line| line.split_once('=')).map(|(name, value)| (name.into(), value.into())).collect()
    }

    /// Reads on to a message that has this name; returns it and those before it.
    async fn until(&mut self, name: &str) -> (Told, Vec<Told>) {
        let mut before = Vec::new();
        loop {
            let told = self.next().await;
            if told.contains_key(name) {
                return (told, before);
            }
            before.push(told);
        }
    }

    async fn signal(&self, name: &str) {
        signal(&self.desk.gateway.as_ref().expect("it runs").child, name).await;
    }

    async fn ended(&mut self) -> Option<i32> {
        let mut gateway = self.desk.gateway.take().expect("it runs");
        tokio::time::timeout(PATIENCE, gateway.child.wait()).await.expect("it ends").expect("a status").code()
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        let process = self.successor.and_then(|it| rustix::process::Pid::from_raw(i32::try_from(it).ok()?));
        // It may have ended.
        process.map(|it| rustix::process::kill_process(it, rustix::process::Signal::KILL));
    }
}

fn is_there(process: u32) -> bool {
    // A zombie whose parent is gone is none for long; its command line is empty.
    fs::read(format!("/proc/{process}/cmdline")).is_ok_and(|line| !line.is_empty())
}

async fn gone(process: u32) {
    let ended = async {
        while is_there(process) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, ended).await.expect("it ends");
}

#[tokio::test]
async fn it_hears_of_the_start_of_life_and_of_the_stop() {
    let mut manager = Manager::start_watched().await;
    let (told, before) = manager.until("READY").await;
    assert_eq!(told.get("STATUS").map(String::as_str), Some("taking submissions for 1 site"));
    assert!(before.iter().all(|told| told.contains_key("WATCHDOG")), "{before:?}");
    let mut last = tokio::time::Instant::now();
    for _ in 0..4 {
        manager.until("WATCHDOG").await;
        assert!(last.elapsed() < WATCHDOG, "{:?}", last.elapsed());
        last = tokio::time::Instant::now();
    }
    manager.signal("-TERM").await;
    manager.until("STOPPING").await;
    assert_eq!(manager.ended().await, Some(0));
}

#[tokio::test]
async fn without_a_watchdog_no_sign_of_life_is_given() {
    let mut manager = Manager::start(&[("WATCHDOG_USEC", "1000"), ("WATCHDOG_PID", "1")]).await;
    manager.until("READY").await;
    // It is answered after a sign of life would have been given.
    let id = manager.desk.post(JSON, &lead_body("meanwhile@example.com")).await;
    manager.desk.until(|event| event["id"] == id.as_str() && event["result"] == "delivered").await;
    manager.signal("-TERM").await;
    let (_, before) = manager.until("STOPPING").await;
    assert_eq!(before, Vec::<Told>::new(), "it is another process' watchdog");
}

#[tokio::test]
async fn it_hears_when_a_reload_begins_and_ends_and_whether_all_is_sound() {
    let mut manager = Manager::start(&[]).await;
    manager.until("READY").await;
    let mut begun = 0;
    for (config, wanted) in [
        (None, "taking submissions for 1 site"),
        (
            Some("\n[limits]\nsite = 7\n"),
            "taking submissions for 1 site; the configuration has errors: run `formgate check`",
        ),
        (Some(""), "taking submissions for 1 site"),
    ] {
        if let Some(more) = config {
            let path = manager.desk.path("config.toml");
            let text = fs::read_to_string(&path).expect("read");
            let text = text.split("\n[limits]").next().expect("the rest");
            fs::write(&path, format!("{text}{more}")).expect("written");
        }
        manager.signal("-HUP").await;
        let (told, _) = manager.until("RELOADING").await;
        let at: u64 = told["MONOTONIC_USEC"].parse().expect("a time");
        assert!(begun < at, "{at}");
        begun = at;
        let (told, _) = manager.until("STATUS").await;
        assert_eq!(told["STATUS"], wanted);
        manager.until("READY").await;
    }
}

#[tokio::test]
async fn it_hears_of_a_change_that_nobody_told_the_gateway_of() {
    let mut manager = Manager::start(&[]).await;
    manager.until("READY").await;
    let path = manager.desk.path("config.toml");
    let text = fs::read_to_string(&path).expect("read");
    fs::write(
        &path,
        text.replace(
            "[[site]]",
            "[[site]]\nid = \"other\"\npublic_key = \"wp_pk_o\"\nsecret_key = \"wp_sk_o\"\n[[site]]",
        ),
    )
    .expect("written");
    let (told, before) = manager.until("STATUS").await;
    assert_eq!(told["STATUS"], "taking submissions for 2 sites");
    assert_eq!(before, Vec::<Told>::new(), "no reload was asked for");
}

#[tokio::test]
async fn the_program_is_replaced_by_what_lies_in_its_place_and_the_manager_follows() {
    let mut manager = Manager::start_watched().await;
    manager.until("READY").await;
    let first = manager.desk.gateway.as_ref().expect("it runs").child.id().expect("it runs").to_string();
    let id = manager.desk.post(JSON, &lead_body("before@example.com")).await;
    assert!(!id.is_empty());
    manager.signal("-USR2").await;
    let (told, _) = manager.until("MAINPID").await;
    let successor: u32 = told["MAINPID"].parse().expect("a process");
    manager.successor = Some(successor);
    assert_ne!(told["MAINPID"], first);
    assert_eq!(told.get("READY").map(String::as_str), Some("1"), "the new process says so itself");
    let (told, _) = manager.until("MAINPID").await;
    assert_eq!(told["MAINPID"], successor.to_string(), "and the old one, which may be the only one that is heard");
    assert_eq!(manager.ended().await, Some(0));
    assert!(is_there(successor));
    // Its watchdog goes on, though it was set up for the old one; and the old one has not said that the unit stops.
    for _ in 0..4 {
        let told = manager.next().await;
        assert_eq!(told.keys().collect::<Vec<_>>(), ["WATCHDOG"]);
    }
    let list = manager.desk.run(&["leads", "list"]).await;
    assert!(
        list.data.contains(&id) && !list.talk.contains("working on the store itself"),
        "{}{}",
        list.data,
        list.talk
    );
    let term = tokio::process::Command::new("kill").args(["-TERM", &successor.to_string()]).status().await;
    assert!(term.expect("kill is there").success());
    manager.until("STOPPING").await;
    gone(successor).await;
    manager.successor = None;
}

#[tokio::test]
async fn what_the_former_process_was_asked_for_while_it_handed_over_the_new_one_does() {
    let mut manager = Manager::start(&[]).await;
    manager.until("READY").await;
    // It begins when the former one has been asked.
    let (program, go) = (manager.desk.path("formgate"), manager.desk.path("go"));
    fs::remove_file(&program).expect("removed");
    let waits = format!("while [ ! -e '{}' ]; do sleep 0.02; done", go.display());
    let script = format!("#!/bin/sh\n{waits}\nexec '{}' \"$@\"\n", env!("CARGO_BIN_EXE_formgate"));
    fs::write(&program, script).expect("written");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("made a program");
    manager.signal("-USR2").await;
    let log = &mut manager.desk.gateway.as_mut().expect("it runs").log;
    until(log, says("upgrade.started")).await;
    manager.signal("-HUP").await;
    fs::write(go, "").expect("written");
    let (told, _) = manager.until("MAINPID").await;
    manager.successor = Some(told["MAINPID"].parse().expect("a process"));
    // A manager that asked for a reload waits for both.
    manager.until("RELOADING").await;
    manager.until("READY").await;
    assert_eq!(manager.ended().await, Some(0));
}

#[tokio::test]
async fn a_stop_while_another_is_to_take_over_ends_that_too() {
    let mut manager = Manager::start(&[]).await;
    manager.until("READY").await;
    let program = manager.desk.path("formgate");
    fs::remove_file(&program).expect("removed");
    fs::write(&program, "#!/bin/sh\nexec sleep 600\n").expect("written");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("made a program");
    manager.signal("-USR2").await;
    let log = &mut manager.desk.gateway.as_mut().expect("it runs").log;
    let started = until(log, says("upgrade.started")).await;
    let successor = u32::try_from(started["process"].as_u64().expect("a process")).expect("a process");
    manager.successor = Some(successor);
    assert!(is_there(successor));
    manager.signal("-TERM").await;
    manager.until("STOPPING").await;
    assert_eq!(manager.ended().await, Some(0));
    gone(successor).await;
    manager.successor = None;
}

#[tokio::test]
async fn an_address_that_is_taken_is_no_mistake_of_the_configuration() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let desk = Desk::new().await;
    let path = desk.path("config.toml");
    let text = fs::read_to_string(&path).expect("read");
    fs::write(&path, text.replacen("127.0.0.1:0", &address, 1)).expect("written");
    let ran = desk.run(&["serve", "--log-format", "json"]).await;
    assert_eq!(ran.code, 75, "{}", ran.talk);
    assert!(ran.talk.contains(&format!("find out what listens on {address}")), "{}", ran.talk);
}

#[tokio::test]
async fn a_program_that_does_not_start_takes_no_place() {
    let mut manager = Manager::start(&[]).await;
    manager.until("READY").await;
    let first = manager.desk.gateway.as_ref().expect("it runs").child.id().expect("it runs").to_string();
    let path = manager.desk.path("config.toml");
    let sound = fs::read_to_string(&path).expect("read");
    fs::write(&path, sound.replace("[server]", "[server]\nmax_body = 7")).expect("written");
    manager.signal("-USR2").await;
    let log = &mut manager.desk.gateway.as_mut().expect("it runs").log;
    let failed = until(log, says("upgrade.failed")).await;
    assert!(failed["error"].as_str().is_some_and(|error| error.contains("78")), "{failed}");
    assert!(!manager.desk.post(JSON, &lead_body("after@example.com")).await.is_empty());
    manager.signal("-TERM").await;
    let (_, before) = manager.until("STOPPING").await;
    let said: Vec<&String> = before.iter().filter_map(|told| told.get("STATUS")).collect();
    assert_eq!(said, ["upgrade failed: the former version goes on, and its log says why"]);
    let main: Vec<&String> = before.iter().filter_map(|told| told.get("MAINPID")).collect();
    assert_eq!(main, [&first], "only the one that goes on");
    assert_eq!(manager.ended().await, Some(0));
}
