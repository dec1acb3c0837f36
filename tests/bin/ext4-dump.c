/*
 * Prints a tree, one sorted line per file, for comparing: of an ext4 image (read by libext2fs, no mount), or with -d of a folder.
 *
 *     ext4-dump [-d] PATH
 *
 * path type mode uid:gid links size mtime.ns device-or-target content-hash xattrs. Names are escaped like %XX.
 * The folder form needs root for what it cannot read else. Sizes and link counts of directories are left out.
 */
#include <dirent.h>
#include <errno.h>
#include <ext2fs/ext2fs.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

struct node {
    char *path, *target, *xattrs;
    uint32_t mode, uid, gid, major, minor, nsec;
    uint64_t links, size, ino, hash;
    int64_t mtime;
};

static struct node *nodes;
static size_t n_nodes, capacity;

static void
die(const char *what)
{
    fprintf(stderr, "ext4-dump: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void *
need(void *p)
{
    if (p == NULL) {
        die("memory");
    }
    return p;
}

static struct node *
add_node(const char *path)
{
    if (n_nodes == capacity) {
        capacity = capacity == 0 ? 256 : capacity * 2;
        nodes = need(realloc(nodes, capacity * sizeof *nodes));
    }
    nodes[n_nodes] = (struct node){.path = need(strdup(path)), .hash = 14695981039346656037ULL};
    return &nodes[n_nodes++];
}

static char *
escape(const char *text, size_t length)
{
    char *ret = need(malloc(length * 3 + 1)), *p = ret;
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char) text[i];
        if (c > 0x20 && c < 0x7f && c != '%') {
            *p++ = (char) c;
        } else {
            p += snprintf(p, 4, "%%%02x", c);
        }
    }
    *p = '\0';
    return ret;
}

/* Zeros count by number, so that holes and zeros are the same. */
static void
hash_bytes(struct node *node, const void *bytes, size_t length)
{
    const uint8_t *p = bytes;
    for (size_t i = 0; i < length; i++) {
        node->hash = (node->hash ^ p[i]) * 1099511628211ULL;
    }
}

/* --- extended attributes, sorted --- */

struct attribute {
    char *name, *value;
};

static int
compare_attributes(const void *a, const void *b)
{
    return strcmp(((const struct attribute *) a)->name, ((const struct attribute *) b)->name);
}

static void
join_attributes(struct node *node, struct attribute *list, size_t n)
{
    size_t length = 1;
    qsort(list, n, sizeof *list, compare_attributes);
    for (size_t i = 0; i < n; i++) {
        length += strlen(list[i].name) + strlen(list[i].value) + 2;
    }
    node->xattrs = need(calloc(1, length));
    for (size_t i = 0, at = 0; i < n; i++) {
        at += (size_t) snprintf(node->xattrs + at, length - at, "%s=%s,", list[i].name,
                                list[i].value);
        free(list[i].name);
        free(list[i].value);
    }
}

/* --- an image --- */

static ext2_filsys fs;

struct attributes {
    struct attribute list[512];
    size_t n;
    struct ext2_xattr_handle *handle;
};

/* libext2fs gives entries of an ACL that have no id the id 0, the kernel ~0. */
static void
fill_acl_ids(const char *name, uint8_t *value, size_t length)
{
    if (strncmp(name, "system.posix_acl_", 17) != 0) {
        return;
    }
    for (size_t at = 4; at + 8 <= length; at += 8) {
        if (value[at] != 2 && value[at] != 8) { /* a named user or group */
            memset(value + at + 4, 0xff, 4);
        }
    }
}

/* Asked for by name, an ACL comes in the form that getxattr(2) gives, not as it is on disk. */
static int
collect_attribute(char *name, char *on_disk, size_t on_disk_length, void *arg)
{
    struct attributes *attributes = arg;
    void *value = NULL;
    size_t length = 0;
    (void) on_disk, (void) on_disk_length;
    if (ext2fs_xattr_get(attributes->handle, name, &value, &length) != 0) {
        die(name);
    }
    fill_acl_ids(name, value, length);
    if (attributes->n < 512) {
        attributes->list[attributes->n++] = (struct attribute){
            .name = escape(name, strlen(name)), .value = escape(value, length)};
    }
    ext2fs_free_mem(&value);
    return 0;
}

static void
image_attributes(struct node *node, ext2_ino_t ino)
{
    struct ext2_xattr_handle *handle;
    static struct attributes attributes;
    attributes.n = 0;
    errcode_t code = ext2fs_xattrs_open(fs, ino, &handle);
    code = code == 0 ? ext2fs_xattrs_read(handle) : code;
    attributes.handle = handle;
    code = code == 0 ? ext2fs_xattrs_iterate(handle, collect_attribute, &attributes) : code;
    if (code != 0) {
        fprintf(stderr, "ext4-dump: %s: xattrs: %ld\n", node->path, code);
        exit(1);
    }
    ext2fs_xattrs_close(&handle);
    join_attributes(node, attributes.list, attributes.n);
}

static void
image_content(struct node *node, ext2_ino_t ino)
{
    static char bytes[1 << 20];
    ext2_file_t file;
    unsigned int n = 0;
    errcode_t code = ext2fs_file_open(fs, ino, 0, &file);
    do {
        code = code == 0 ? ext2fs_file_read(file, bytes, sizeof bytes, &n) : code;
        if (code != 0) {
            fprintf(stderr, "ext4-dump: %s: read: %ld\n", node->path, code);
            exit(1);
        }
        hash_bytes(node, bytes, n);
    } while (n > 0);
    ext2fs_file_close(file);
}

static void
image_target(struct node *node, ext2_ino_t ino, struct ext2_inode *inode)
{
    char bytes[4097] = "";
    unsigned int n = 0;
    ext2_file_t file;
    if (ext2fs_inode_has_valid_blocks2(fs, inode)) {
        if (ext2fs_file_open(fs, ino, 0, &file) != 0 ||
            ext2fs_file_read(file, bytes, 4096, &n) != 0) {
            die("symlink");
        }
        ext2fs_file_close(file);
    } else {
        n = inode->i_size;
        memcpy(bytes, inode->i_block, n <= 60 ? n : 60);
    }
    node->target = escape(bytes, n);
}

static void
image_device(struct node *node, const struct ext2_inode *inode)
{
    if (inode->i_block[0] != 0) {
        node->major = inode->i_block[0] >> 8 & 0xff;
        node->minor = inode->i_block[0] & 0xff;
    } else {
        node->major = (inode->i_block[1] & 0xfff00) >> 8;
        node->minor = (inode->i_block[1] & 0xff) | (inode->i_block[1] >> 12 & 0xfff00);
    }
}

static void
image_node(const char *path, ext2_ino_t ino)
{
    struct ext2_inode_large inode;
    if (ext2fs_read_inode_full(fs, ino, (struct ext2_inode *) &inode, sizeof inode) != 0) {
        die("inode");
    }
    struct node *node = add_node(path);
    node->mode = inode.i_mode;
    node->uid = inode.i_uid | (uint32_t) inode.osd2.linux2.l_i_uid_high << 16;
    node->gid = inode.i_gid | (uint32_t) inode.osd2.linux2.l_i_gid_high << 16;
    node->links = inode.i_links_count;
    node->ino = ino;
    node->size = EXT2_I_SIZE(&inode);
    node->mtime = (int32_t) inode.i_mtime + ((int64_t) (inode.i_mtime_extra & 3) << 32);
    node->nsec = inode.i_mtime_extra >> 2;
    image_attributes(node, ino);
    if (S_ISREG(inode.i_mode)) {
        image_content(node, ino);
    } else if (S_ISLNK(inode.i_mode)) {
        image_target(node, ino, (struct ext2_inode *) &inode);
    } else if (S_ISCHR(inode.i_mode) || S_ISBLK(inode.i_mode)) {
        image_device(node, (struct ext2_inode *) &inode);
    }
}

static char *
join(const char *parent, const char *name)
{
    char *path = need(malloc(strlen(parent) + strlen(name) + 2));
    (void) stpcpy(stpcpy(stpcpy(path, parent), "/"), name);
    return path;
}

static int
image_entry(ext2_ino_t dir, int which, struct ext2_dir_entry *entry, int offset, int block_size,
            char *block, void *arg)
{
    if (which != DIRENT_OTHER_FILE) {
        return 0;
    }
    char *name = escape(entry->name, (size_t) ext2fs_dirent_name_len(entry));
    char *path = join(arg, name);
    image_node(path, entry->inode);
    if (ext2fs_dirent_file_type(entry) == EXT2_FT_DIR) {
        ext2fs_dir_iterate2(fs, entry->inode, 0, NULL, image_entry, path);
    }
    free(path);
    free(name);
    return 0;
}

static void
dump_image(const char *path)
{
    errcode_t code = ext2fs_open(path, EXT2_FLAG_64BITS, 0, 0, unix_io_manager, &fs);
    if (code != 0) {
        fprintf(stderr, "ext4-dump: %s: %ld\n", path, code);
        exit(1);
    }
    image_node("", EXT2_ROOT_INO);
    code = ext2fs_dir_iterate2(fs, EXT2_ROOT_INO, 0, NULL, image_entry, (void *) "");
    if (code != 0) {
        fprintf(stderr, "ext4-dump: %s: %ld\n", path, code);
        exit(1);
    }
    ext2fs_close(fs);
}

/* --- a folder --- */

static void
folder_attributes(struct node *node, const char *path)
{
    static char names[65536], value[65536];
    static struct attribute list[512];
    size_t n_list = 0;
    ssize_t n = llistxattr(path, names, sizeof names);
    for (char *name = names; n > 0 && name < names + n; name += strlen(name) + 1) {
        ssize_t length = lgetxattr(path, name, value, sizeof value);
        if (length >= 0 && n_list < 512) {
            list[n_list++] = (struct attribute){.name = escape(name, strlen(name)),
                                                .value = escape(value, (size_t) length)};
        }
    }
    join_attributes(node, list, n_list);
}

static void
folder_content(struct node *node, const char *path)
{
    static char bytes[1 << 20];
    ssize_t n;
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        die(path);
    }
    while ((n = read(fd, bytes, sizeof bytes)) > 0) {
        hash_bytes(node, bytes, (size_t) n);
    }
    close(fd);
}

static void
folder_node(const char *real, const char *path, const struct stat *st)
{
    static char target[4097];
    struct node *node = add_node(path);
    node->mode = st->st_mode;
    node->uid = st->st_uid;
    node->gid = st->st_gid;
    node->links = st->st_nlink;
    node->ino = st->st_ino;
    node->size = (uint64_t) st->st_size;
    node->mtime = st->st_mtim.tv_sec;
    node->nsec = (uint32_t) st->st_mtim.tv_nsec;
    folder_attributes(node, real);
    if (S_ISREG(st->st_mode)) {
        folder_content(node, real);
    } else if (S_ISLNK(st->st_mode)) {
        ssize_t n = readlink(real, target, sizeof target);
        node->target = escape(target, n < 0 ? 0 : (size_t) n);
    } else if (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode)) {
        node->major = major(st->st_rdev);
        node->minor = minor(st->st_rdev);
    }
}

static void
dump_folder(const char *real, const char *path)
{
    struct stat st;
    if (lstat(real, &st) != 0) {
        die(real);
    }
    folder_node(real, path, &st);
    if (!S_ISDIR(st.st_mode)) {
        return;
    }
    DIR *dir = opendir(real);
    if (dir == NULL) {
        die(real);
    }
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
            continue;
        }
        char *name = escape(entry->d_name, strlen(entry->d_name));
        char *real_child = real[0] == '.' && real[1] == '\0' ? need(strdup(entry->d_name))
                                                             : join(real, entry->d_name);
        char *child = join(path, name);
        dump_folder(real_child, child);
        free(name);
        free(real_child);
        free(child);
    }
    closedir(dir);
}

/* --- printing --- */

static int
compare_nodes(const void *a, const void *b)
{
    return strcmp(((const struct node *) a)->path, ((const struct node *) b)->path);
}

/* The first path of the same inode names a group of hard links. */
static const char *
first_link(const struct node *node)
{
    for (size_t i = 0; i < n_nodes; i++) {
        if (nodes[i].ino == node->ino) {
            return nodes[i].path;
        }
    }
    return node->path;
}

static char
type_letter(uint32_t mode)
{
    return S_ISREG(mode)    ? 'f'
           : S_ISDIR(mode)  ? 'd'
           : S_ISLNK(mode)  ? 'l'
           : S_ISCHR(mode)  ? 'c'
           : S_ISBLK(mode)  ? 'b'
           : S_ISFIFO(mode) ? 'p'
                            : '?';
}

static void
print_node(const struct node *node)
{
    char type = type_letter(node->mode);
    printf("%s/ %c %04o %u:%u %" PRId64 ".%09u", node->path, type, node->mode & 07777,
           node->uid, node->gid, node->mtime, node->nsec);
    if (type == 'f') {
        printf(" size=%" PRIu64 " hash=%016" PRIx64, node->size, node->hash);
    }
    if (type != 'd' && node->links > 1) {
        printf(" links=%" PRIu64 " with=%s", node->links, first_link(node));
    }
    if (type == 'c' || type == 'b') {
        printf(" device=%u:%u", node->major, node->minor);
    }
    if (node->target != NULL) {
        printf(" -> %s", node->target);
    }
    printf(" %s\n", node->xattrs);
}

int
main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "-d") == 0) {
        if (chdir(argv[2]) != 0) { /* paths below it may be as long as paths can be */
            die(argv[2]);
        }
        dump_folder(".", "");
    } else if (argc == 2) {
        dump_image(argv[1]);
    } else {
        fprintf(stderr, "usage: ext4-dump [-d] PATH\n");
        return 2;
    }
    qsort(nodes, n_nodes, sizeof *nodes, compare_nodes);
    for (size_t i = 0; i < n_nodes; i++) {
        print_node(&nodes[i]);
        free(nodes[i].xattrs);
        free(nodes[i].target);
    }
    for (size_t i = 0; i < n_nodes; i++) {
        free(nodes[i].path);
    }
    free(nodes);
    return 0;
}
