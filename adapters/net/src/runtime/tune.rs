//! What a socket is told before it is used.

use socket2::SockRef;
use std::io;
#[cfg(unix)]
use std::os::fd::AsFd as Handle;
#[cfg(windows)]
use std::os::windows::io::AsSocket as Handle;

/// Bytes that the system keeps for a peer besides those on their way.
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNSENT_BYTES: u32 = 64 << 10;

/// Tells a TCP socket what it is for: small messages, of which none is to wait, and old ones are
/// worth little.
///
/// * What is written leaves at once (`TCP_NODELAY`).
/// * The system keeps 64 KiB at most that it has not sent yet (`TCP_NOTSENT_LOWAT`; Linux and Android
///   only). What is on its way does not count, so a fast connection over a long way is as fast as ever.
///   By itself Linux keeps up to 4 MiB for each peer that has stopped reading: two hundred of them are
///   750 MiB, and until they are full, everybody pays for the writing.
///
/// The errors are the system's: a socket that is gone already, or of another kind.
pub fn tune(socket: &impl Handle) -> io::Result<()> {
    let socket = SockRef::from(socket);
    socket.set_tcp_nodelay(true)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket.set_tcp_notsent_lowat(UNSENT_BYTES)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{ErrorKind, Write};
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    /// Two ends, the second with a receive buffer that does not depend on the machine.
    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        SockRef::from(&listener).set_recv_buffer_size(64 << 10).unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (ours, listener.accept().unwrap().0)
    }

    #[test]
    fn small_messages_leave_at_once() {
        let (socket, _peer) = pair();
        tune(&socket).unwrap();
        assert!(socket.nodelay().unwrap());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_system_takes_little_for_a_peer_that_reads_nothing() {
        let (mut socket, _peer) = pair();
        tune(&socket).unwrap();
        socket.set_nonblocking(true).unwrap();
        let (mut taken, mut full) = (0, 0);
        // Full for 50 ms: what is on its way has arrived, and is not waiting any more.
        while full < 50 {
            match socket.write(&[0; 16 << 10]) {
                Ok(bytes) => (taken, full) = (taken + bytes, 0),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    full += 1;
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(error) => panic!("{error}"),
            }
        }
        // The peer's own receive buffer comes first: Linux doubles what it is asked for.
        assert!(taken < 512 << 10, "{taken} bytes");
    }
}
