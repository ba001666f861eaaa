//! VMs of the dialect `command`: `register` and `update`.

use super::super::audit::Subject;
use super::{Context, Continue, Next, Resume, StageInfo};
use crate::model::{Answer, Failure, Login, NewVm, Secret, VmChange, VmName, VmShape};
use crate::store::Write;
use crate::work::{Hash, Read, Work, WorkResult, WrongResult};

/// A registration or an update.
#[derive(Debug)]
pub enum Stage {
    /// The name is looked up first, to save the cost of a hash.
    FindName { vm: NewVm, password: Secret },
    /// The password is hashed.
    Hash { vm: NewVm },
    /// The VM is stored.
    Store { name: VmName },
    /// The change is stored.
    Update { login: Login },
}

pub(super) fn register(
    name: VmName,
    shape: VmShape,
    disk_sizes_gib: Vec<u64>,
    password: Secret,
) -> Next<Stage> {
    let vm = NewVm { name: name.clone(), shape, disk_sizes_gib, password_hash: None, management: None };
    Next::Work { work: Work::Read(Read::FindCredentials { name }), stage: Stage::FindName { vm, password } }
}

pub(super) fn update(context: Context, change: VmChange) -> Next<Stage> {
    match context.own_login() {
        Ok(login) => {
            let stage = Stage::Update { login: login.clone() };
            Next::Work { work: Work::Write(Write::Update { login, change }), stage }
        }
        Err(failure) => Next::failed(failure),
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
            Stage::Hash { vm } => Some(&vm.name),
            Stage::FindName { .. } | Stage::Store { .. } | Stage::Update { .. } => None,
        }
    }

    fn weight(&self) -> usize {
        match self {
            Stage::FindName { vm, .. } | Stage::Hash { vm } => vm.disk_sizes_gib.len(),
            Stage::Store { .. } | Stage::Update { .. } => 0,
        }
    }

    fn subject(&self) -> Subject {
        Subject::Name(match self {
            Stage::FindName { vm, .. } | Stage::Hash { vm } => vm.name.clone(),
            Stage::Store { name } => name.clone(),
            Stage::Update { login } => login.name.clone(),
        })
    }
}

impl Continue for Stage {
    fn resume(self, at: Resume<'_>, result: WorkResult) -> Result<Next<Stage>, WrongResult> {
        let Resume { app, now, .. } = at;
        Ok(match self {
            Stage::FindName { vm, password } => match result.credentials()? {
                Some(_) => Next::failed(Failure::AlreadyRegistered),
                None => Next::Work { work: Work::Hash(Hash::New { password }), stage: Stage::Hash { vm } },
            },
            Stage::Hash { mut vm } => {
                let name = vm.name.clone();
                vm.password_hash = Some(result.hashed()?);
                let write = Write::Register { vm, vms_max: app.settings.vms_max, now };
                Next::Work { work: Work::Write(write), stage: Stage::Store { name } }
            }
            Stage::Store { name } => {
                result.written()?;
                Next::Answer(Answer::Registered(name))
            }
            Stage::Update { .. } => {
                result.written()?;
                Next::Answer(Answer::Updated)
            }
        })
    }
}
