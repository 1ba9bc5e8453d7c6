//! The fuse's socket: connections in, requests to the main loop.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::{UnixListener, UnixStream},
    sync::mpsc::{self, Sender},
};

use super::{
    Input,
    protocol::{Reply, Request},
    spawn_thread,
};

/// Accepts connections for as long as the process lives.
pub(super) fn start(listener: UnixListener, inputs: Sender<Input>) -> std::io::Result<()> {
    spawn_thread("listener", move || {
        for stream in listener.incoming().flatten() {
            let inputs = inputs.clone();
            // Out of threads: the agent sees its connection closed, and retries.
            let _refused = spawn_thread("connection", move || serve(&stream, &inputs));
        }
    })?;
    Ok(())
}

/// Answers one connection's requests until it ends or subscribes.
fn serve(stream: &UnixStream, inputs: &Sender<Input>) {
    let mut writer = stream;
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        let reply = match serde_json::from_str(&line) {
            Ok(Request::Subscribe) => {
                if let Ok(stream) = stream.try_clone() {
                    let _ended = inputs.send(Input::Subscribe(stream));
                }
                return;
            }
            Ok(request) => ask(request, inputs),
            Err(error) => Reply::Refused {
                reason: format!("not a request of this version: {error}"),
            },
        };
        if write_line(&mut writer, &reply).is_err() {
            return;
        }
    }
}

fn ask(request: Request, inputs: &Sender<Input>) -> Reply {
    let (answer, answered) = mpsc::sync_channel(1);
    let sent = inputs.send(Input::Request(request, answer));
    sent.ok()
        .and_then(|()| answered.recv().ok())
        .unwrap_or_else(|| Reply::Refused {
            reason: "the fuse is ending".to_owned(),
        })
}

/// Writes one JSON line in one call, so that lines never mix.
pub(super) fn write_line(
    writer: &mut impl Write,
    message: &impl serde::Serialize,
) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    writer.write_all(&line)
}
