//! Guests that run in QEMU.

// The driver that writes the seed of each guest is not there yet.
#![cfg_attr(not(test), allow(dead_code))]

pub mod seed;
