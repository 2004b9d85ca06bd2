//! Sinks that are real sockets, and what becomes of records when nobody listens.

use std::{
    io::Read as _,
    net::{SocketAddr, TcpListener, UdpSocket},
    os::unix::net::UnixDatagram,
    path::PathBuf,
    time::{Duration, Instant},
};

use abi::{FlowKey, Ip4, Ip6, Port, Protocol, Tuple};
use gateway::intent::{Collector, LogFile, Syslog};

use super::{
    tally::{Loss, Sink},
    *,
};

/// How long anything here may take.
const LIMIT: Duration = Duration::from_secs(10);

/// The log of one sink.
fn log(change: impl FnOnce(&mut SessionLog)) -> SessionLog {
    let mut log = SessionLog {
        opened: true,
        closed: true,
        ..NONE
    };
    change(&mut log);
    log
}

fn told(log: &SessionLog, events: &[Opened<Ip6>]) -> Sessions {
    let sessions = Sessions::default();
    sessions.configure(Some(log));
    sessions.opened(events);
    sessions
}

fn event(client: u8) -> Opened<Ip6> {
    let asked = Tuple {
        source: Ip4([10, 1, 0, client]),
        target: Ip4([198, 51, 100, 9]),
        source_port: Port::new(40000),
        target_port: Port::new(443),
    };
    let sent = Tuple {
        source: Ip4([192, 0, 2, 10]),
        ..asked
    };
    let at = kernel::now();
    Opened::new(at, FlowKey::new(Protocol::Tcp, asked), sent, 0).wide()
}

fn receiver() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

fn datagram(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = [0; 65536];
    let count = socket.recv(&mut buffer).unwrap();
    buffer[..count].to_vec()
}

const SAID: &str = "tcp opened 10.1.0.7:40000 as 192.0.2.10:40000 to 198.51.100.9:443";

#[test]
fn a_syslog_receiver_hears_messages_over_udp() {
    let (socket, address) = receiver();
    let log = log(|log| log.syslog = Some(Syslog::Udp(address)));

    let sessions = told(&log, &[event(7)]);

    let message = String::from_utf8(datagram(&socket)).unwrap();
    assert!(message.starts_with("<134>1 20"), "{message}");
    assert!(message.ends_with(SAID), "{message}");
    sessions.end();
    assert_eq!(
        sessions
            .tally()
            .written(Sink::Syslog, sessions::Kind::Opened),
        1
    );
}

#[test]
fn a_syslog_receiver_hears_counted_messages_over_tcp() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let log = log(|log| log.syslog = Some(Syslog::Tcp(address)));

    let sessions = told(&log, &[event(7), event(7)]);

    let (mut stream, _) = listener.accept().unwrap();
    sessions.end();
    let mut heard = String::new();
    stream.read_to_string(&mut heard).unwrap();
    let (length, rest) = heard.split_once(' ').unwrap();
    let (first, second) = rest.split_at(length.parse().unwrap());
    assert!(first.ends_with(SAID), "{heard}");
    assert!(second.ends_with(SAID), "{heard}");
}

#[test]
fn a_syslog_receiver_of_this_host_is_found_again_after_it_was_started_anew() {
    let path = std::env::temp_dir().join(format!("egret-syslog-{}", std::process::id()));
    let listen = || {
        let _ = fs::remove_file(&path);
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        socket
    };
    let hear = |socket: &UnixDatagram| {
        let mut buffer = [0; 4096];
        let count = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..count].to_vec()).unwrap()
    };
    let first = listen();
    let log = log(|log| log.syslog = Some(Syslog::Unix(path.clone())));

    let sessions = told(&log, &[event(7)]);
    assert!(hear(&first).ends_with(SAID));
    drop(first);
    let second = listen();
    second
        .set_read_timeout(Some(Duration::from_millis(20)))
        .unwrap();
    let end = Instant::now() + LIMIT;
    // Some are lost on a socket that is gone; they are counted.
    let mut buffer = [0; 4096];
    while second.recv(&mut buffer).is_err() {
        assert!(Instant::now() < end, "the new receiver hears nothing");
        sessions.opened(&[event(8)]);
    }
    sessions.end();
    fs::remove_file(&path).unwrap();
    assert!(sessions.tally().lost(Sink::Syslog, Loss::Write) > 0);
}

#[test]
fn a_collector_hears_ipfix() {
    let (socket, address) = receiver();
    let collector = Collector { address, domain: 7 };
    let log = log(|log| log.ipfix = Some(collector));

    let sessions = told(&log, &[event(7)]);

    let message = datagram(&socket);
    assert_eq!(message[..2], [0, 10], "IPFIX is version 10");
    assert_eq!(message[12..16], [0, 0, 0, 7]);
    sessions.end();
    assert_eq!(
        sessions
            .tally()
            .written(Sink::Ipfix, sessions::Kind::Opened),
        1
    );
}

#[test]
fn what_nobody_receives_is_counted_and_nobody_waits() {
    // Nobody listens there: the listener is gone.
    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let log = log(|log| log.syslog = Some(Syslog::Tcp(address)));
    let events: Vec<Opened<Ip6>> = (0..100).map(event).collect();

    let sessions = told(&log, &events);
    sessions.end();

    assert_eq!(sessions.tally().lost(Sink::Syslog, Loss::Write), 100);
    assert_eq!(
        sessions
            .tally()
            .written(Sink::Syslog, sessions::Kind::Opened),
        0
    );
}

#[test]
fn a_sink_that_is_slower_than_the_flows_loses_by_its_queue_and_keeps_nobody_waiting() {
    struct Stuck(std::sync::mpsc::Receiver<()>);
    impl outlet::Write for Stuck {
        fn write(&mut self, _: &[Record]) -> u64 {
            let _ = self.0.recv();
            0
        }
    }
    let (release, stuck) = std::sync::mpsc::channel();
    let tally = Arc::new(Tally::default());
    let outlet = Outlet::start(Sink::File, &tally, Stuck(stuck));
    let clock = Clock::now();
    let events: Vec<Opened<Ip6>> = (0..200).map(event).collect();
    let records = Pools::default().opened(&events, &clock);

    // More than a queue and a batch hold.
    (0..1400).for_each(|_| outlet.push(&records));

    let lost = tally.lost(Sink::File, Loss::Queue);
    assert!(lost >= 1400 * 200 - (1 << 18) - 4096, "{lost}");
    drop(release);
    outlet.end();
    let written = tally.written(Sink::File, sessions::Kind::Opened);
    assert_eq!(
        written + lost,
        1400 * 200,
        "each is written or counted as lost"
    );
}

#[test]
fn another_configuration_replaces_what_differs_and_loses_nothing() {
    let path: PathBuf = std::env::temp_dir().join(format!("egret-sessions-{}", std::process::id()));
    let file = |size| LogFile {
        path: path.join("sessions.jsonl"),
        size,
        age: LIMIT,
        keep: 3,
    };
    let before = log(|log| log.file = Some(file(1 << 20)));
    let after = log(|log| {
        log.file = Some(file(1 << 21));
        log.closed = false;
    });

    let sessions = told(&before, &[event(1)]);
    sessions.configure(Some(&after));
    sessions.opened(&[event(2)]);
    assert!(sessions.wants_opened() && !sessions.wants_closed());
    sessions.configure(None);
    sessions.opened(&[event(3)]);
    assert!(!sessions.wants_opened());

    let text = fs::read_to_string(path.join("sessions.jsonl")).unwrap();
    fs::remove_dir_all(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(
        lines[0].contains("10.1.0.1") && lines[1].contains("10.1.0.2"),
        "{text}"
    );
}

#[test]
fn a_receiver_of_this_host_that_does_not_read_keeps_its_sink_waiting_once() {
    let path = std::env::temp_dir().join(format!("egret-deaf-{}", std::process::id()));
    let deaf = UnixDatagram::bind(&path).unwrap();
    let log = log(|log| log.syslog = Some(Syslog::Unix(path.clone())));
    let events: Vec<Opened<Ip6>> = (0..250).cycle().take(2000).map(event).collect();
    let began = Instant::now();

    let sessions = told(&log, &events);
    sessions.end();

    assert!(began.elapsed() < LIMIT, "{:?}", began.elapsed());
    drop(deaf);
    fs::remove_file(&path).unwrap();
    assert!(sessions.tally().lost(Sink::Syslog, Loss::Write) > 1000);
}

/// A configuration whose pool has blocks for 60 clients, on two addresses that do not lie side by side.
const BLOCKS: &str = "
interfaces: [{name: eth0, realm: both}]
pools:
  - name: homes
    addresses: [192.0.2.10, 192.0.2.12]
    blocks: {clients: [10.1.0.0/27, 10.1.0.64/28], size: 512}
rules: [{name: all, sources: [10.0.0.0/8], pool: homes}]
";

fn intent(text: &str) -> Intent {
    gateway::intent::parse("test.yaml", text).unwrap().intent
}

/// Two ways to compute the same: the packet path's and the log's.
#[test]
fn the_log_computes_the_blocks_that_the_packet_path_gives() {
    let intent = intent(BLOCKS);
    let assignment = scribe::assignment(&intent, Time::from_secs(1));
    let [said] = &assignment.pools[..] else {
        panic!("{assignment:?}");
    };
    let blocks = intent.pools[0].blocks.as_ref().unwrap();
    let addresses = &intent.pools[0].addresses;
    let mut clients = 0;
    for last in 0..=255 {
        let client = std::net::Ipv4Addr::new(10, 1, 0, last);
        let given = blocks.of(client);
        let computed = said.of(client);
        clients += usize::from(given.is_some());
        let given = given.map(|(address, ports)| (addresses[address], ports.first, ports.last));
        let computed = computed.map(|it| (it.address.into(), it.first, it.last));
        assert_eq!(given, computed, "{client}");
    }
    assert_eq!(clients, 48);
}

#[test]
fn flows_from_a_clients_own_block_are_told_to_collectors_only() {
    let (syslog, address) = receiver();
    let (ipfix, collector) = receiver();
    let log = log(|log| {
        log.syslog = Some(Syslog::Udp(address));
        log.ipfix = Some(Collector {
            address: collector,
            domain: 1,
        });
    });
    let sessions = Sessions::default();
    sessions.configure(Some(&log));
    sessions.assign(&intent(BLOCKS));
    let message = || String::from_utf8(datagram(&syslog)).unwrap();
    let blocks = message();
    assert!(
        blocks.contains("event=\"blocks\" pool=\"homes\""),
        "{blocks}"
    );
    assert!(
        blocks.contains("clients=\"10.1.0.0/27,10.1.0.64/28\""),
        "{blocks}"
    );

    // The eighth client of the first address has ports from 4608 on, and 40000 is nobody's.
    let within = |port| {
        let mut event = event(7);
        event.sent.source_port = Port::new(port);
        event.at = kernel::now();
        event
    };
    sessions.assign(&intent(BLOCKS));
    sessions.opened(&[within(4608), within(40000), within(5119), within(5120)]);

    assert!(message().contains("external=\"192.0.2.10:40000\""));
    assert!(message().contains("external=\"192.0.2.10:5120\""));
    assert_eq!(sessions.tally().spared()[0].1, 2);
    sessions.end();
    let told = sessions
        .tally()
        .written(Sink::Ipfix, sessions::Kind::Opened);
    assert_eq!(told, 4);
    assert!(!datagram(&ipfix).is_empty());
    let said = |kind| sessions.tally().written(Sink::Syslog, kind);
    assert_eq!(said(sessions::Kind::Opened), 2);
    assert_eq!(said(sessions::Kind::Blocks), 1, "the same is said once");
}
