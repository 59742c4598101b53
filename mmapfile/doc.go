// Package mmapfile is the operating system as the store sees it: files mapped into
// memory, memory that processes share, locks whose owners may die. It behaves the
// same on Linux and Windows, and knows nothing of pages and transactions.
//
//   - A Mapping is a file and a read-only view of it. The file grows, under all
//     processes at once, and the view with it, at a base that never moves. What is
//     stored in the file shows in every view.
//   - A name makes a Mapping known to other processes for as long as one holds it. A
//     Mapping of memory has no file but that name.
//   - A NamedMutex, a Semaphore, an Event are known by name, too, in the same name
//     space: a name stands for one thing.
//   - An Area is a little memory that processes share, in a file that is of no use
//     to anybody else. Its members are numbered, and the kernel proves which live.
//   - A Mutex lies in an Area. It outlives the death of its owner, and says so.
//   - A Waiter lies in an Area, too: a count that members raise and wait for.
//   - NewFile makes a file, whole or not at all.
//
// # The picture
//
//	process A                      process B
//	Mapping  Area.Self() = 0       Mapping  Area.Self() = 1
//	   |      |                       |      |
//	   |      |  words, by atomics    |      |
//	   |      +----------+------------|------+
//	   |                 |            |
//	   |   app.kv-lock: header, member table, user bytes ... lock bytes:
//	   |                                          gate, member 0, member 1, ...
//	   |                              |
//	   +---- app.kv: Store by write, View by page cache ----+
//
// A member's proof of life is a lock on one byte of the area's file, far behind
// its end. The kernel frees it when the process is gone, with all its threads, in
// whatever way it went, and not before: process ids, which mean something else in
// every container and are used again, play no part. Whoever takes the lock of a
// dead member keeps anybody from becoming that member, and so can tidy up in its
// name without being wrong a moment later.
//
// On Linux these are locks of the open file description, and every Area opens its
// file anew. The process must not lose that descriptor by other means than Close:
// to the kernel, it would be dead. A mutex is one word there and a futex. On
// Windows it is a mutex of the kernel, named after the identity of the area's
// file, that one thread holds for all goroutines.
//
// A waiter is one word, too: the count, and whether somebody may sleep. So to raise
// a count that nobody waits for costs one atomic operation. One goroutine of a member
// sleeps for all:
//
//	Wait  Wait  Wait        Wait  Wait
//	  |     |     |           |     |
//	  |     +-----+ channel   |     + channel
//	lead                    lead
//	  |                       |
//	  +--- count, waiters ----+------------ Wake, of any member
//
// On Linux it sleeps on the word itself. On Windows every member that waits has an
// event of the kernel, and a mark in the waiter's line while it sleeps.
//
// Storing takes different ways. On Linux it is pwritev: the page cache that it
// writes to is the memory of the view, a full disk is an error and not a fault,
// and one page costs the device one page. On Windows it is a copy into a writable
// view, and only the process that has changed a view can push the changes on to the
// file system. So a Flush covers what was stored through its own Mapping, and
// nobody can count on it for what others have stored.
//
// What has a name and is no file of the user's has a body: a file in a directory of the
// user alone, in memory on Linux, made and removed with the name. That of a mutex,
// semaphore or event is an area. So the kernel proves who holds it, and what those leave
// who were killed is removed by the next who uses the name.
//
// A data file and its area belong together, and yet they are two files: a lock file
// can be removed, and a second path to the data, by a hard link or a mount, has
// another one beside it. So the data file itself tells which area it is used with.
// The first member of an area gives it a random nonce, and each Mapping that is
// bound holds a shared lock on a byte of the data file, far behind its end, whose
// number is the nonce. Whoever binds takes that lock first and then looks for any
// other: of two with different nonces at least one sees the other and gives way.
//
// # Invariants
//
//   - M1: the base of a View never changes, and no slice from View becomes invalid
//     before Close.
//   - M2: no file is cut by anything but Trim. Two that make a file longer at the
//     same time cannot undo each other's work, nor overwrite what was stored.
//   - M3: at any time a number has at most one live member, and only a member that
//     holds the lock of a number writes to its line of the member table.
//   - M4: words of an area are used atomically only, at aligned places inside the
//     user bytes; up to 16 of its lines are mutexes, any others may be waiters.
//   - M5: a Mutex has at most one owner, which is alive or whose death the next
//     owner is told of. It is taken from a dead owner only while that member's
//     lock is held.
//   - M6: nothing is joined, left or zeroed without the gate. The user bytes are
//     zeroed only if no member lives. Nothing stays seized at Close.
//   - M7: a name stands for one thing as long as any process holds it, and for none
//     when none does. Its record, and its body, are complete before anybody else can see
//     them.
//   - M8: the Mappings of a file that are bound at any time have the same nonce.
//   - M9: no change of a count is lost on those who wait for it. If the member that
//     made it dies before it has woken them, they find it within a second. One
//     goroutine of a member sleeps in the kernel, and none when nobody waits.
//
// # Lock order
//
// Between processes: the gate of a name, then that of an area, then its mutexes, then the
// lock of a dead member. To wake takes no lock but, at times,
// that of a dead member.
//
// Inside a process: the turn at a mutex, then Area.probe. Area.mu, Waiter.lead and
// Waiter.mu come before no other. Mapping.life, then Mapping.size, then those of the
// view. Mapping.bound comes after Mapping.life alone.
//
// # Recipes
//
// Containers. Each has a /dev/shm of its own, so that names do not reach from one to
// another, and often 64 MB of it: what does not fit is ErrNoSpace. Containers of one host
// that are to share use a file on a volume that all of them mount, which may be a tmpfs;
// path and lock file must be in the same directory everywhere. Or they share /dev/shm
// (docker run --ipc=container:NAME, --shm-size=1g). They must run as the same user.
//
// systemd. When the last session of a user ends, logind removes what that user has in
// /dev/shm, unless RemoveIPC=no is set or the user is one of the system. Who still holds a
// name goes on with what it has, and others get ErrNotExist instead of a second object of
// that name. So services have a system user. PrivateTmp= does not touch /dev/shm.
//
// Windows. Names in Local are those of a session: a service, which has one of its own, and
// a desktop program share names in Global, and creating a mapping there needs the privilege
// SeCreateGlobalPrivilege, which services have. The files behind objects lie in the local
// application data of the user, so that both must be the same user.
//
// What is left by processes that were killed is in nobody's way: the next one to use the
// name replaces it, and Objects removes it. On Linux a reboot leaves nothing.
//
// # What it does not do
//
// It does not run on other systems than Linux and Windows: there everything is an
// error that wraps errors.ErrUnsupported, except HeapArea, which works everywhere.
// It does not refuse a file system that cannot keep all views of a file alike, but
// Mapping.FileSystem tells which are known to. A Mutex is not recursive and not
// fair to the nanosecond, though nobody waits long behind those that came later.
// What an area holds is lost with its last member: it has no format to keep.
// Global names reach the other sessions of the same user, not other users, on
// Linux.
package mmapfile
