//! VMs of the dialect `command`: `register`, `update`, and an operator's `add`.

use super::super::audit::Subject;
use super::{App, Context, Continue, Next, Noted, Resume, StageInfo};
use crate::clock::UnixSeconds;
use crate::model::{Answer, Failure, Login, NewVm, Secret, VmChange, VmName, VmShape};
use crate::store::{Write, Written};
use crate::work::{Hash, Read, Work, WorkResult, WrongResult};

/// A registration or an update.
#[derive(Debug)]
pub enum Stage {
    /// The name is looked up first, to save the cost of a hash.
    FindName { vm: Box<NewVm>, password: Option<Secret>, registrar: Registrar },
    /// The password is hashed.
    Hash { vm: Box<NewVm>, registrar: Registrar },
    /// The VM is stored.
    Store { name: VmName, registrar: Registrar },
    /// The change is stored.
    Update { login: Login },
}

/// Who registers a VM: an operator also gets its id.
#[derive(Clone, Copy, Debug)]
pub enum Registrar {
    Client,
    Operator,
}

pub(super) fn register(
    name: VmName,
    shape: VmShape,
    disk_sizes_gib: Vec<u64>,
    password: Option<Secret>,
    registrar: Registrar,
) -> Next<Stage> {
    let vm = NewVm { name: name.clone(), shape, disk_sizes_gib, password_hash: None, management: None };
    let stage = Stage::FindName { vm: Box::new(vm), password, registrar };
    Next::Work { work: Work::Read(Read::FindCredentials { name }), stage }
}

pub(super) fn update(context: Context, change: VmChange) -> Next<Stage> {
    match context.own_login() {
        Ok(login) => {
            let stage = Stage::Update { login: login.clone() };
            Next::Work { work: Work::Write(Write::Update { login, token: None, change }), stage }
        }
        Err(failure) => Next::failed(failure),
    }
}

impl App {
    fn store_vm(&self, vm: NewVm, registrar: Registrar, now: UnixSeconds) -> Next<Stage> {
        let name = vm.name.clone();
        let write = Write::Register { vm, vms_max: self.settings.vms_max, now };
        Next::Work { work: Work::Write(write), stage: Stage::Store { name, registrar } }
    }
}

impl StageInfo for Stage {
    fn login(&self) -> Option<&Login> {
        match self {
            Stage::Update { login } => Some(login),
            Stage::FindName { .. } | Stage::Hash { .. } | Stage::Store { .. } => None,
        }
    }

    fn hashed_name(&self) -> Option<&VmName> {
        match self {
            Stage::Hash { vm, .. } => Some(&vm.name),
            Stage::FindName { .. } | Stage::Store { .. } | Stage::Update { .. } => None,
        }
    }

    fn weight(&self) -> usize {
        match self {
            Stage::FindName { vm, .. } | Stage::Hash { vm, .. } => vm.disk_sizes_gib.len(),
            Stage::Store { .. } | Stage::Update { .. } => 0,
        }
    }

    fn noted(&self) -> Option<Noted> {
        match self {
            Stage::Store { .. } => Some(Noted::Registered),
            Stage::Update { login } => Some(Noted::Updated(login.id)),
            Stage::FindName { .. } | Stage::Hash { .. } => None,
        }
    }

    fn subject(&self) -> Subject {
        Subject::Name(match self {
            Stage::FindName { vm, .. } | Stage::Hash { vm, .. } => vm.name.clone(),
            Stage::Store { name, .. } => name.clone(),
            Stage::Update { login } => login.name.clone(),
        })
    }
}

impl Continue for Stage {
    fn resume(self, at: Resume<'_>, result: WorkResult) -> Result<Next<Stage>, WrongResult> {
        let Resume { app, now, .. } = at;
        Ok(match self {
            Stage::FindName { vm, password, registrar } => match (result.credentials()?, password) {
                (Some(_), _) => Next::failed(Failure::AlreadyRegistered),
                (None, Some(password)) => {
                    let stage = Stage::Hash { vm, registrar };
                    Next::Work { work: Work::Hash(Hash::New { password }), stage }
                }
                (None, None) => app.store_vm(*vm, registrar, now),
            },
            Stage::Hash { mut vm, registrar } => {
                vm.password_hash = Some(result.hashed()?);
                app.store_vm(*vm, registrar, now)
            }
            Stage::Store { name, registrar } => {
                let Written::Registered(id) = result.written()? else { return Err(WrongResult) };
                Next::Answer(match registrar {
                    Registrar::Client => Answer::Registered(name),
                    Registrar::Operator => Answer::Added(name, id),
                })
            }
            Stage::Update { .. } => {
                result.written()?;
                Next::Answer(Answer::Updated)
            }
        })
    }
}
