/*
 * The I/O channel under libext2fs: one fd and a direct-mapped write-back cache of 1,024 blocks.
 *
 * libext2fs writes one block at a time (an inode table block once for each of its inodes), so the cache turns that into few writes.
 * Why not its own unix_io: file content goes past the channel in big writes, and both must agree on every block (e4_io_forget);
 * and a failed write must fail the image, at the latest at the next flush, never be lost in an eviction.
 */
#include "sdk/ext4/writer.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define SLOTS 1024
#define FREE UINT64_MAX

struct e4_io {
    int fd;
    errcode_t failed; /* the first failure of a write; it stays */
    uint64_t blocks[SLOTS];
    bool dirty[SLOTS];
    char *data; /* SLOTS * E4_BLOCK */
};

errcode_t
e4_pread_all(int fd, void *bytes, size_t length, uint64_t offset)
{
    char *p = bytes;
    while (length > 0) {
        ssize_t n = pread(fd, p, length, (off_t) offset);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return errno;
        }
        if (n == 0) {
            memset(p, 0, length);
            return 0;
        }
        p += n;
        offset += (uint64_t) n;
        length -= (size_t) n;
    }
    return 0;
}

errcode_t
e4_pwrite_all(int fd, const void *bytes, size_t length, uint64_t offset)
{
    const char *p = bytes;
    while (length > 0) {
        ssize_t n = pwrite(fd, p, length, (off_t) offset);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return n < 0 ? errno : EIO;
        }
        p += n;
        offset += (uint64_t) n;
        length -= (size_t) n;
    }
    return 0;
}

/* --- the cache --- */

static struct e4_io *
io_of(io_channel channel)
{
    return channel->private_data;
}

int
e4_io_fd(io_channel channel)
{
    return io_of(channel)->fd;
}

static char *
slot_data(struct e4_io *io, uint32_t slot)
{
    return io->data + (size_t) slot * E4_BLOCK;
}

/* Writes dirty blocks that follow each other, from this slot on, at once. */
static errcode_t
write_back(struct e4_io *io, uint32_t slot)
{
    uint32_t n = 0;
    while (slot + n < SLOTS && io->dirty[slot + n] &&
           io->blocks[slot + n] == io->blocks[slot] + n) {
        io->dirty[slot + n] = false;
        n++;
    }
    errcode_t code = e4_pwrite_all(io->fd, slot_data(io, slot), (size_t) n * E4_BLOCK,
                                   io->blocks[slot] * E4_BLOCK);
    if (code != 0 && io->failed == 0) {
        io->failed = code;
    }
    return io->failed;
}

static errcode_t
flush_slots(struct e4_io *io)
{
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        if (io->dirty[slot]) {
            (void) write_back(io, slot);
        }
    }
    return io->failed;
}

/* Makes the slot the block's own. */
static errcode_t
claim(struct e4_io *io, uint64_t block, uint32_t *ret_slot)
{
    uint32_t slot = (uint32_t) (block % SLOTS);
    if (io->blocks[slot] != block && io->dirty[slot]) {
        errcode_t code = write_back(io, slot);
        if (code != 0) {
            return code;
        }
    }
    *ret_slot = slot;
    return 0;
}

static errcode_t
read_block(struct e4_io *io, uint64_t block, char *ret)
{
    uint32_t slot;
    errcode_t code = claim(io, block, &slot);
    if (code != 0) {
        return code;
    }
    if (io->blocks[slot] != block) {
        io->blocks[slot] = FREE;
        code = e4_pread_all(io->fd, slot_data(io, slot), E4_BLOCK, block * E4_BLOCK);
        if (code != 0) {
            return code;
        }
        io->blocks[slot] = block;
    }
    memcpy(ret, slot_data(io, slot), E4_BLOCK);
    return 0;
}

static errcode_t
write_block(struct e4_io *io, uint64_t block, const char *bytes)
{
    uint32_t slot;
    errcode_t code = claim(io, block, &slot);
    if (code != 0) {
        return code;
    }
    io->blocks[slot] = block;
    io->dirty[slot] = true;
    memcpy(slot_data(io, slot), bytes, E4_BLOCK);
    return 0;
}

void
e4_io_forget(io_channel channel, blk64_t first, uint32_t n)
{
    struct e4_io *io = io_of(channel);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t slot = (uint32_t) ((first + i) % SLOTS);
        if (io->blocks[slot] == first + i) {
            io->blocks[slot] = FREE;
            io->dirty[slot] = false;
        }
    }
}

/* --- the channel's slots; a negative count means bytes --- */

static errcode_t
io_close(io_channel channel)
{
    if (--channel->refcount > 0) {
        return 0;
    }
    struct e4_io *io = io_of(channel);
    errcode_t code = flush_slots(io);
    (void) close(io->fd);
    free(io->data);
    free(io);
    free(channel->name);
    free(channel);
    return code;
}

static errcode_t
io_open(const char *path, int flags, io_channel *ret)
{
    io_channel channel = calloc(1, sizeof *channel);
    struct e4_io *io = calloc(1, sizeof *io);
    char *data = malloc((size_t) SLOTS * E4_BLOCK);
    char *name = strdup(path);
    errcode_t code = EXT2_ET_NO_MEMORY;
    if (channel != NULL && io != NULL && data != NULL && name != NULL) {
        int access = (flags & IO_FLAG_RW) != 0 ? O_RDWR : O_RDONLY;
        io->fd = open(path, access | O_CLOEXEC | O_NOFOLLOW);
        code = io->fd < 0 ? errno : 0;
    }
    if (code != 0) {
        free(channel);
        free(io);
        free(data);
        free(name);
        return code;
    }
    io->data = data;
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        io->blocks[slot] = FREE;
    }
    channel->magic = EXT2_ET_MAGIC_IO_CHANNEL;
    channel->manager = &e4_io_manager;
    channel->name = name;
    channel->block_size = 1024;
    channel->refcount = 1;
    channel->private_data = io;
    *ret = channel;
    return 0;
}

static errcode_t
io_set_blksize(io_channel channel, int block_size)
{
    channel->block_size = block_size;
    return 0;
}

/* Reads or writes around the cache: what is cached is written first and forgotten then. */
static errcode_t
raw(io_channel channel, uint64_t offset, size_t length, void *read_into, const void *write_from)
{
    struct e4_io *io = io_of(channel);
    errcode_t code = flush_slots(io);
    if (code == 0 && read_into != NULL) {
        return e4_pread_all(io->fd, read_into, length, offset);
    }
    if (code == 0) {
        code = e4_pwrite_all(io->fd, write_from, length, offset);
        e4_io_forget(channel, offset / E4_BLOCK, (uint32_t) (length / E4_BLOCK) + 2);
        if (code != 0) {
            io->failed = code;
        }
    }
    return code;
}

static errcode_t
io_read_blk64(io_channel channel, unsigned long long block, int count, void *ret)
{
    if (count < 0 || channel->block_size != E4_BLOCK) {
        size_t length =
            count < 0 ? (size_t) -count : (size_t) count * (size_t) channel->block_size;
        return raw(channel, block * (uint64_t) channel->block_size, length, ret, NULL);
    }
    for (int i = 0; i < count; i++) {
        errcode_t code = read_block(io_of(channel), block + (uint64_t) i,
                                    (char *) ret + (size_t) i * E4_BLOCK);
        if (code != 0) {
            return code;
        }
    }
    return 0;
}

static errcode_t
io_write_blk64(io_channel channel, unsigned long long block, int count, const void *bytes)
{
    if (count < 0 || channel->block_size != E4_BLOCK) {
        size_t length =
            count < 0 ? (size_t) -count : (size_t) count * (size_t) channel->block_size;
        return raw(channel, block * (uint64_t) channel->block_size, length, NULL, bytes);
    }
    for (int i = 0; i < count; i++) {
        errcode_t code = write_block(io_of(channel), block + (uint64_t) i,
                                     (const char *) bytes + (size_t) i * E4_BLOCK);
        if (code != 0) {
            return code;
        }
    }
    return 0;
}

static errcode_t
io_read_blk(io_channel channel, unsigned long block, int count, void *ret)
{
    return io_read_blk64(channel, block, count, ret);
}

static errcode_t
io_write_blk(io_channel channel, unsigned long block, int count, const void *bytes)
{
    return io_write_blk64(channel, block, count, bytes);
}

static errcode_t
io_write_byte(io_channel channel, unsigned long offset, int count, const void *bytes)
{
    return raw(channel, offset, (size_t) count, NULL, bytes);
}

static errcode_t
io_flush(io_channel channel)
{
    return flush_slots(io_of(channel));
}

struct struct_io_manager e4_io_manager = {
    .magic = EXT2_ET_MAGIC_IO_MANAGER,
    .name = "ctr I/O manager",
    .open = io_open,
    .close = io_close,
    .set_blksize = io_set_blksize,
    .read_blk = io_read_blk,
    .write_blk = io_write_blk,
    .flush = io_flush,
    .write_byte = io_write_byte,
    .read_blk64 = io_read_blk64,
    .write_blk64 = io_write_blk64,
};
