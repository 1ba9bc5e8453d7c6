//! The services over a real socket, before a quorum that obeys the test.

#[path = "grpc/ctl.rs"]
mod ctl;
#[path = "grpc/groups.rs"]
mod groups;
#[path = "grpc/leases.rs"]
mod leases;
#[path = "grpc/operations.rs"]
mod operations;
#[path = "grpc/quorum.rs"]
mod quorum;
#[path = "grpc/scene.rs"]
mod scene;
