//! The keys that sealed listeners use.

use std::sync::Arc;

use super::key_file::KeyFile;
use super::start_error::StartError;
use crate::config::{Config, ListenAddress, ListenerSpec};
use crate::crypto::{InvalidKey, RsaKeyPair};
use crate::embed::KeyPair;
use crate::limits;
use crate::session::SealedListener;

/// The keys for those of `listen` that are sealed, if there are any: `own`, or those of the state directory, which are
/// made if there are none, or new ones.
pub(super) fn sealed_keys(
    config: &Config,
    listen: &[ListenerSpec],
    own: Option<Arc<dyn KeyPair>>,
) -> Result<Option<SealedListener>, StartError> {
    if !listen.iter().any(|listener| matches!(listener.address, ListenAddress::Sealed(_))) {
        return Ok(None);
    }
    let unusable = |error: InvalidKey| {
        StartError::of_configuration(format!("the key pair for sealed listeners can't be used: {error}"))
    };
    let key_pair: Arc<dyn KeyPair> = match own {
        Some(own) => own,
        None if config.sealed_onetime_keys => {
            let key_pair = RsaKeyPair::generate(limits::RSA_BITS).map_err(unusable)?;
            log::info!("the fingerprint of the key pair for this run: {}", key_pair.fingerprint());
            Arc::new(key_pair)
        }
        None => Arc::new(kept_keys(config)?),
    };
    SealedListener::new(key_pair).map(Some).map_err(unusable)
}

/// The key pair of the state directory.
fn kept_keys(config: &Config) -> Result<RsaKeyPair, StartError> {
    let file = KeyFile::of_state_dir(&config.state_dir);
    let path = file.path().display();
    let found = file.read().map_err(|error| {
        StartError::of_configuration(format!(
            "the key pair for sealed listeners, {path}, can't be used: {error}; restore it, or make a new one with \
             vmherd keys new"
        ))
    })?;
    if let Some(key_pair) = found {
        log::info!("the fingerprint of the key pair for sealed listeners: {}", key_pair.fingerprint());
        return Ok(key_pair);
    }
    let failed = |error: &dyn std::fmt::Display| {
        StartError::of_system(format!("the key pair for sealed listeners, {path}, can't be made: {error}"))
    };
    let key_pair = RsaKeyPair::generate(limits::RSA_BITS).map_err(|error| failed(&error))?;
    file.write(&key_pair).map_err(|error| failed(&error))?;
    log::info!("made a key pair for sealed listeners, {path}; its fingerprint: {}", key_pair.fingerprint());
    Ok(key_pair)
}
