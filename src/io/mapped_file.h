#pragma once
// A file that grows by many small appends, written through a mapping: an append is a copy, not a
// system call. What was copied is in the kernel's memory as after write(2), and outlives the
// process.
//
// Space is reserved a step ahead (posix_fallocate), so that a full disk is an error of append() and
// never a signal. What the mapping can still meet is a disk that fails while a page is made
// writable; the kernel says that with SIGBUS, which append() turns into kDiskIoError
// (guarded_copy). Where a file cannot be reserved or mapped, it is written with write(2).
//
// The file is longer than size() by what is reserved, zeros, until truncate(size()) cuts them: the
// owner does so when it is done with the file. A process that is killed leaves them.

#include <memory>
#include <string>

#include "io/file.h"

namespace markab::io {

// Owns `fd`, a file of `size` bytes opened for reading and writing.
std::unique_ptr<AppendFile> make_mapped_append_file(int fd, std::string path, uint64_t size);

// Copies into a mapped file. False: the disk did not give a page (SIGBUS), and what was copied is
// undefined. Any thread.
bool guarded_copy(char* to, const char* from, size_t n);

}  // namespace markab::io
