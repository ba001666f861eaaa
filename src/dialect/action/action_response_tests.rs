//! Replies of the dialect, byte for byte.

use super::*;
use crate::dialect;
use crate::ids::{DiskId, VmId};
use crate::model::{BadField, Caller, CommandName, Cursor, Dialect, Listing, Query, VmName, VmShape};

/// The reply, without and with an id.
fn replies(answer: &Answer) -> [String; 2] {
    [None, Some(RequestId("1.0".into()))].map(|id| {
        let mut output = Vec::new();
        dialect::encode_answer(Dialect::Action, id.as_ref(), answer, &mut output);
        String::from_utf8(output).expect("UTF-8")
    })
}

#[test]
fn answers_are_written_byte_for_byte() {
    let failed = Answer::Failed;
    let cases = [
        (Answer::Action(ActionAnswer::Added(VmId(7))), r#""status":"vm added","vm_id":7"#),
        (Answer::Action(ActionAnswer::Authorized), r#""status":"authenticated""#),
        (Answer::Action(ActionAnswer::Connected), r#""status":"connected and authenticated""#),
        (Answer::Action(ActionAnswer::LoggedOut), r#""status":"logged out""#),
        (Answer::Updated, r#""status":"vm updated""#),
        (failed(Failure::UnknownCommand), r#""error":"invalid action""#),
        (failed(Failure::MissingVmId), r#""error":"required data: vm_id""#),
        (failed(Failure::InvalidVmShape), r#""error":"required data: ram, disks""#),
        (failed(Failure::UnknownDisk(DiskId(5))), r#""error":"required data: ram, disks""#),
        (failed(Failure::UnknownVm), r#""error":"VM ID does not exist""#),
        (failed(Failure::NotAuthorized), r#""error":"vm not authenticated""#),
        (failed(Failure::AuthenticationRequired), r#""error":"authentication required""#),
        (failed(Failure::RegistrationClosed), r#""error":"registration is closed""#),
        (failed(Failure::InvalidCredentials), r#""error":"Invalid credentials""#),
        (failed(Failure::VmLimitReached), r#""error":"VM limit reached""#),
        (failed(Failure::Busy), r#""error":"busy""#),
        (failed(Failure::StoreUnavailable), r#""error":"store unavailable""#),
        (failed(Failure::OutcomeUnknown), r#""error":"outcome unknown""#),
        (failed(Failure::Internal), r#""error":"internal error""#),
        (
            failed(Failure::InvalidToken),
            r#""error":"Invalid access token. Try refreshing with the 'authenticate' command""#,
        ),
        (failed(Failure::TokenOfAnotherVm), r#""error":"Token belongs to another VM""#),
        (failed(Failure::BadField(BadField("token: \"no\"".into()))), r#""error":"token: \"no\"""#),
    ];
    for (answer, wanted) in cases {
        assert_eq!(replies(&answer), [format!("{{{wanted}}}"), format!("{{\"request_id\":1.0,{wanted}}}")]);
    }
}

/// Writes a list that consists of `pages`.
fn list(list: List, id: Option<&RequestId>, pages: Vec<Items>) -> String {
    let (mut output, mut progress, count) = (Vec::new(), PageProgress::default(), pages.len());
    for (index, items) in pages.into_iter().enumerate() {
        let next = (index + 1 < count).then_some(Cursor::AfterMember(1));
        let page = Page {
            listing: Listing {
                command: CommandName::List,
                query: Query::List(list),
                caller: Caller::default(),
            },
            items,
            next,
        };
        dialect::encode_page(Dialect::Action, id, &page, &mut progress, &mut output);
    }
    String::from_utf8(output).expect("UTF-8")
}

#[test]
fn lists_are_written_with_numeric_vm_ids() {
    let disk = |id, size_gib| Disk { id: DiskId(id), size_gib };
    let vm = |id, disks| Vm {
        id: VmId(id),
        name: VmName::from_store("nobody sees it"),
        shape: VmShape { ram_mib: 512, cpus: 4 },
        has_password: true,
        disks,
    };
    let one = r#"{"id":1,"ram":512,"cpu":4,"disks":[{"id":1,"size":100},{"id":2,"size":1125899906842624}]}"#;
    let other = r#"{"id":9,"ram":512,"cpu":4,"disks":[]}"#;
    for (of, name) in [
        (List::AllVms, "all_vms"),
        (List::AuthorizedVms, "authorized_vms"),
        (List::ConnectedVms, "connected_vms"),
        (List::EverConnectedVms, "all_connected_vms"),
    ] {
        let vms = || vec![vm(1, vec![disk(1, 100), disk(2, 1 << 50)])];
        let wanted = format!("{{\"{name}\":[{one},{other}]}}");
        let pages =
            vec![Items::Vms(vec![]), Items::Vms(vms()), Items::Vms(vec![]), Items::Vms(vec![vm(9, vec![])])];
        assert_eq!(list(of, None, pages), wanted);
        assert_eq!(list(of, None, vec![Items::Vms(vec![])]), format!("{{\"{name}\":[]}}"));
        let id = RequestId("\"x\"".into());
        let wanted = format!("{{\"request_id\":\"x\",\"{name}\":[{one}]}}");
        assert_eq!(list(of, Some(&id), vec![Items::Vms(vms())]), wanted);
    }
    let of_vm = DiskOfVm { disk: disk(3, 10), vm_id: VmId(7), vm_name: VmName::from_store("b") };
    let wanted = r#"{"all_disks":[{"id":3,"vm_id":7,"size":10},{"id":3,"vm_id":7,"size":10}]}"#;
    let pages = vec![Items::Disks(vec![of_vm.clone()]), Items::Disks(vec![of_vm])];
    assert_eq!(list(List::AllDisks, None, pages), wanted);
}
