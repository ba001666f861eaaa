//! A container is its client's when the client's system has received the answer, however the client leaves.

use std::net::Shutdown;
use std::time::Duration;

use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};
use vmherd::TestHypervisor;

use crate::common::codec::{request_head, text_frame};
use crate::common::{Client, DEADLINE, Drops, is_in_a_namespace, run_in_a_namespace, wait_until};
use crate::containers::{bed, destroy};
use crate::running::{Bed, verb};
use crate::web::Web;

/// How a client asks for a container.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    Tcp,
    Unix,
    Http,
    WebSocket,
}

/// A client that has asked for a container.
enum Asking {
    Client(Client),
    Web(Web),
}

impl Way {
    fn all() -> impl Iterator<Item = Way> {
        let is_built = |way: &Way| match way {
            Way::Tcp | Way::Unix => true,
            Way::Http => cfg!(feature = "http"),
            Way::WebSocket => cfg!(feature = "websocket"),
        };
        [Way::Tcp, Way::Unix, Way::Http, Way::WebSocket].into_iter().filter(is_built)
    }

    fn ask(self, bed: &Bed) -> Asking {
        let over = |mut client: Client| {
            client.send(&verb("CREATE").to_string());
            Asking::Client(client)
        };
        let mut web = match self {
            Way::Tcp => return over(bed.client()),
            Way::Unix => return over(bed.operator()),
            Way::Http => Web::connect(bed.address()),
            Way::WebSocket => Web::websocket(bed.address()),
        };
        match self {
            Way::WebSocket => web.send(text_frame(&verb("CREATE").to_string())),
            _ => web.send(request_head("POST", "/create", &[("Host", "localhost"), ("Content-Length", "0")])),
        }
        Asking::Web(web)
    }
}

impl Asking {
    fn socket(&self) -> &Socket {
        match self {
            Asking::Client(client) => client.socket(),
            Asking::Web(web) => web.socket(),
        }
    }

    /// Leaves with a reset of the connection.
    fn reset(self) {
        self.socket().set_linger(Some(Duration::ZERO)).expect("a socket option");
    }

    /// The credentials of the container.
    fn credentials(&mut self, way: Way) -> Value {
        let reply = match (self, way) {
            (Asking::Client(client), _) => client.reply(),
            (Asking::Web(web), Way::Http) => serde_json::from_str(&web.reply().body).expect("JSON"),
            (Asking::Web(web), _) => serde_json::from_str(&web.message()).expect("JSON"),
        };
        assert_eq!(reply["success"], true, "{reply}");
        let data = &reply["data"];
        json!({"container_uuid": data["container_uuid"], "client_token": data["client_token"]})
    }

    fn expect_end(&mut self) {
        match self {
            Asking::Client(client) => client.expect_closed(),
            Asking::Web(web) => web.expect_end(),
        }
    }
}

/// The container is destroyed only now, by its client.
#[track_caller]
fn assert_kept(bed: &Bed, credentials: &Value, what: &str) {
    assert_eq!(destroy(&mut bed.client(), credentials)["success"], true, "{what}");
    assert_eq!(bed.containers_available(), Some(1), "{what}");
}

#[test]
fn a_container_whose_client_closes_while_it_is_created_is_destroyed() {
    for way in Way::all() {
        let hypervisor = TestHypervisor::default();
        let bed = bed(hypervisor.clone(), 1);
        hypervisor.hold();
        let asking = way.ask(&bed);
        wait_until("it is being created", DEADLINE, || hypervisor.held() == 1);
        // What a process that dies does: no reset, as long as no answer comes.
        drop(asking);
        hypervisor.release();
        let what = format!("it is destroyed: {way:?}");
        wait_until(&what, DEADLINE, || bed.containers_available() == Some(1));
        assert!(hypervisor.containers().is_empty(), "{way:?}");
        wait_until("the connection is closed", DEADLINE, || bed.counter("connections_open") == 0);
    }
}

#[test]
fn a_client_that_ends_its_output_only_keeps_its_container() {
    for way in Way::all().filter(|way| *way != Way::WebSocket) {
        let hypervisor = TestHypervisor::default();
        let bed = bed(hypervisor.clone(), 1);
        hypervisor.hold();
        let mut asking = way.ask(&bed);
        asking.socket().shutdown(Shutdown::Write).expect("an open socket can be half closed");
        wait_until("it is being created", DEADLINE, || hypervisor.held() == 1);
        hypervisor.release();
        wait_until("the server has closed", DEADLINE, || bed.counter("connections_open") == 0);
        let credentials = asking.credentials(way);
        asking.expect_end();
        assert_kept(&bed, &credentials, &format!("{way:?}"));
    }
}

#[test]
fn a_client_that_leaves_with_its_answer_keeps_its_container() {
    for way in Way::all() {
        let bed = bed(TestHypervisor::default(), 1);
        for is_reset in [false, true] {
            let what = format!("{way:?}, reset: {is_reset}");
            let mut asking = way.ask(&bed);
            let credentials = asking.credentials(way);
            match is_reset {
                true => asking.reset(),
                false => drop(asking),
            }
            wait_until("the client has left", DEADLINE, || bed.counter("connections_open") == 0);
            assert_kept(&bed, &credentials, &what);
        }
    }
}

#[test]
fn a_later_answer_that_gets_lost_takes_no_container() {
    let bed = bed(TestHypervisor::default(), 1);
    for round in 0..20 {
        let mut asking = Way::Tcp.ask(&bed);
        let credentials = asking.credentials(Way::Tcp);
        // The answer to this one finds no client.
        asking.socket().send(br#"{"command":"ping","data":{}}"#).expect("there is room");
        drop(asking);
        wait_until("the client has left", DEADLINE, || bed.counter("connections_open") == 0);
        assert_kept(&bed, &credentials, &format!("round {round}"));
    }
}

/// A client whose system receives a few KB, and no more until they are read. Requests more than that, and a container.
fn asks_and_reads_nothing(bed: &Bed) -> Client {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(1).expect("a socket option");
    socket.connect(&bed.address().into()).expect("it accepts");
    let mut client = Client::over(socket);
    let ping = json!({"request_id": "x".repeat(500), "command": "ping"}).to_string();
    client.send(&ping.repeat(20));
    client.send(&verb("CREATE").to_string());
    client
}

#[test]
fn a_container_whose_answer_waits_in_the_servers_system_is_destroyed_with_the_connection() {
    let hypervisor = TestHypervisor::default();
    let bed = bed(hypervisor.clone(), 1);
    let client = asks_and_reads_nothing(&bed);
    wait_until("it is created", DEADLINE, || bed.counter("requests_verb_create_ok") == 1);
    drop(client);
    wait_until("it is destroyed", DEADLINE, || bed.containers_available() == Some(1));
    assert!(hypervisor.containers().is_empty());
}

#[test]
fn a_container_whose_client_receives_nothing_is_destroyed_after_the_write_timeout() {
    let hypervisor = TestHypervisor::default();
    let bed = Bed::with_config(
        |config| config.timeouts.write = Duration::from_millis(300),
        |builder| builder.hypervisor(hypervisor.clone()).containers_max(1),
    );
    let client = asks_and_reads_nothing(&bed);
    wait_until("it is created", DEADLINE, || bed.counter("requests_verb_create_ok") == 1);
    wait_until("it is destroyed", DEADLINE, || bed.containers_available() == Some(1));
    assert!(hypervisor.containers().is_empty());
    assert_eq!((bed.counter("connections_stalled"), bed.counter("connections_open")), (1, 0));
    drop(client);
}

#[test]
fn a_closed_connection_is_kept_until_its_client_has_the_container() {
    let hypervisor = TestHypervisor::default();
    let bed = bed(hypervisor.clone(), 1);
    let mut client = asks_and_reads_nothing(&bed);
    client.half_close();
    wait_until("the server has closed", DEADLINE, || bed.counter("connections_open") == 0);
    let last =
        client.rest().lines().last().map(serde_json::from_str::<Value>).expect("replies").expect("JSON");
    let data = &last["data"];
    let credentials = json!({"container_uuid": data["container_uuid"], "client_token": data["client_token"]});
    assert_kept(&bed, &credentials, "its client has read it");
}

#[test]
fn a_container_whose_client_leaves_after_the_server_has_closed_is_destroyed() {
    let hypervisor = TestHypervisor::default();
    let bed = bed(hypervisor.clone(), 1);
    let mut client = asks_and_reads_nothing(&bed);
    client.half_close();
    wait_until("the server has closed", DEADLINE, || bed.counter("connections_open") == 0);
    assert_eq!(hypervisor.containers().len(), 1);
    drop(client);
    wait_until("it is destroyed", DEADLINE, || bed.containers_available() == Some(1));
    assert!(hypervisor.containers().is_empty());
}

#[test]
fn of_too_many_closed_connections_the_oldest_is_given_up() {
    let hypervisor = TestHypervisor::default();
    let max = vmherd::internals::limits::UNDELIVERED_SOCKETS_MAX;
    let bed = Bed::with_config(
        |config| config.timeouts.write = 10 * DEADLINE,
        |builder| builder.hypervisor(hypervisor.clone()).containers_max(max as u32 + 1),
    );
    let mut first = None;
    let _clients: Vec<Client> = (0..=max)
        .map(|number| {
            let mut client = asks_and_reads_nothing(&bed);
            client.half_close();
            wait_until("its connection is closed", DEADLINE, || {
                bed.counter("requests_verb_create_ok") > number as u64 && bed.counter("connections_open") == 0
            });
            first = first.or_else(|| hypervisor.containers().first().copied());
            client
        })
        .collect();
    wait_until("one is destroyed", DEADLINE, || bed.containers_available() == Some(1));
    assert!(!hypervisor.containers().contains(&first.expect("a container")));
}

/// A server that has answered a client and closed, and the client, which has ended its output. The answer is lost on the
/// way, and is sent again.
struct Far {
    hypervisor: TestHypervisor,
    bed: Bed,
    asking: Asking,
    drops: Drops,
}

impl Far {
    fn new(write_timeout: Duration) -> Far {
        let hypervisor = TestHypervisor::default();
        let bed = Bed::with_config(
            |config| config.timeouts.write = write_timeout,
            |builder| builder.hypervisor(hypervisor.clone()).containers_max(1),
        );
        hypervisor.hold();
        let asking = Way::Tcp.ask(&bed);
        asking.socket().shutdown(Shutdown::Write).expect("an open socket can be half closed");
        wait_until("it is being created", DEADLINE, || hypervisor.held() == 1);
        let drops = Drops::begin(&[&format!("tcp sport {}", bed.address().port())]);
        hypervisor.release();
        wait_until("the server has closed", DEADLINE, || bed.counter("connections_open") == 0);
        assert_eq!(hypervisor.containers().len(), 1, "its client may get it");
        Far { hypervisor, bed, asking, drops }
    }
}

#[test]
fn a_client_keeps_its_container_if_the_answer_comes_late() {
    if !is_in_a_namespace() {
        return run_in_a_namespace("delivery::a_client_keeps_its_container_if_the_answer_comes_late");
    }
    let Far { bed, mut asking, drops, .. } = Far::new(DEADLINE);
    drop(drops);
    let credentials = asking.credentials(Way::Tcp);
    asking.expect_end();
    assert_kept(&bed, &credentials, "its client has it");
}

#[test]
fn a_container_is_destroyed_when_the_answer_finds_no_client() {
    if !is_in_a_namespace() {
        return run_in_a_namespace("delivery::a_container_is_destroyed_when_the_answer_finds_no_client");
    }
    let Far { hypervisor, bed, asking, drops } = Far::new(10 * DEADLINE);
    drop(asking);
    assert_eq!(hypervisor.containers().len(), 1, "its client may get it");
    drop(drops);
    wait_until("it is destroyed", DEADLINE, || bed.containers_available() == Some(1));
    assert!(hypervisor.containers().is_empty());
}

#[test]
fn a_container_is_destroyed_if_no_answer_comes_through_within_the_write_timeout() {
    let name = "delivery::a_container_is_destroyed_if_no_answer_comes_through_within_the_write_timeout";
    if !is_in_a_namespace() {
        return run_in_a_namespace(name);
    }
    let Far { hypervisor, bed, .. } = &Far::new(Duration::from_secs(1));
    wait_until("it is destroyed", DEADLINE, || bed.containers_available() == Some(1));
    assert!(hypervisor.containers().is_empty());
}
