/*
 * The CNI plugins `weave-net` and `weave-ipam` for hosts without Python: pass a runtime's request on to this host's
 * router, and its answer back. Does what the script `weave-net` beside this file does, in under a millisecond.
 *
 * Build: `make cni`, or cc -static -O2 -o weave-net weave-net.c; the plugin is the one whose name the file is called by. Everything is
 * bounded: the input, the answer, every wait, and the number of deletions that are kept while the router is down.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { DEADLINE_S = 60, SPOOLED_MOST = 4096 };
enum { HEAD_MOST = 256, INPUT_MOST = 60 * 1024, REQUEST_MOST = 128 * 1024, ANSWER_MOST = 256 * 1024 };
enum { INVALID_ENVIRONMENT = 4, IO_FAILURE = 5, TRY_AGAIN = 11, UNAVAILABLE = 50 };

static const char VERSIONS[] = "\"0.1.0\", \"0.2.0\", \"0.3.0\", \"0.3.1\", \"0.4.0\", \"1.0.0\", \"1.1.0\"";

extern char **environ;

/* One octet more than is used, so that what is read can be ended by a zero. */
static char input[INPUT_MOST + 2], buffer[HEAD_MOST + REQUEST_MOST], answer[ANSWER_MOST + 1];
static char *const request = buffer + HEAD_MOST;
static size_t input_size, request_size;
static const char *plugin = "weave-net", *socket_path = "/run/weave/weave.sock";
static time_t deadline;

static const char *variable(const char *name)
{
	const char *value = getenv(name);
	return value ? value : "";
}

static time_t now(void)
{
	struct timespec at;
	clock_gettime(CLOCK_MONOTONIC, &at);
	return at.tv_sec;
}

/* Wait until a descriptor is ready; false when the time is over. */
static bool wait_for(int descriptor, short events)
{
	struct pollfd one = { .fd = descriptor, .events = events };
	for (;;) {
		time_t left = deadline - now();
		if (left <= 0)
			return false;
		int ready = poll(&one, 1, (int)left * 1000);
		if (ready > 0)
			return true;
		if (ready < 0 && errno != EINTR)
			return false;
	}
}

static bool write_all(int descriptor, const char *octets, size_t size)
{
	while (size) {
		ssize_t done = write(descriptor, octets, size);
		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return false;
		octets += done;
		size -= (size_t)done;
	}
	return true;
}

/* The version that the configuration asks for, read without understanding the rest. */
static const char *version_or(const char *otherwise)
{
	static char found[16];
	const char *at = memmem(input, input_size, "\"cniVersion\"", 12);
	if (!at)
		return otherwise;
	at += 12;
	at += strspn(at, " \t\r\n");
	if (*at++ != ':')
		return otherwise;
	at += strspn(at, " \t\r\n");
	if (*at++ != '"')
		return otherwise;
	size_t size = strspn(at, "0123456789.");
	if (!size || size >= sizeof found || at[size] != '"')
		return otherwise;
	memcpy(found, at, size);
	return found;
}

static int fail(int code, const char *words, const char *more)
{
	printf("{\"cniVersion\": \"%s\", \"code\": %d, \"msg\": \"%s%s\"}", version_or("0.1.0"), code, words, more);
	return 1;
}

/* Read standard input; return what is wrong, or NULL. */
static const char *read_input(void)
{
	for (;;) {
		if (!wait_for(STDIN_FILENO, POLLIN))
			return "nothing came on standard input";
		ssize_t got = read(STDIN_FILENO, input + input_size, INPUT_MOST + 1 - input_size);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return "standard input cannot be read";
		if (got == 0)
			return NULL;
		input_size += (size_t)got;
		if (input_size > INPUT_MOST)
			return "the network configuration is longer than 61440 octets";
	}
}

static bool append(const char *octets, size_t size)
{
	if (size > REQUEST_MOST - request_size)
		return false;
	memcpy(request + request_size, octets, size);
	request_size += size;
	return true;
}

static int by_name(const void *left, const void *right)
{
	return strcmp(*(char *const *)left, *(char *const *)right);
}

/* Variables, each ended by a zero octet, an empty one, then the input. */
static bool encode(void)
{
	char *found[64];
	size_t count = 0;
	for (char **at = environ; *at; at++)
		if (!strncmp(*at, "CNI_", 4) && count < 64)
			found[count++] = *at;
	qsort(found, count, sizeof *found, by_name);
	for (size_t i = 0; i < count; i++)
		if (!append(found[i], strlen(found[i]) + 1))
			return false;
	return append("", 1) && append(input, input_size);
}

static const char *exchange(int connection, size_t *size)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct timeval limit = { .tv_sec = DEADLINE_S };
	char head[HEAD_MOST];
	if (strlen(socket_path) >= sizeof address.sun_path)
		return "the path of its socket is too long";
	strcpy(address.sun_path, socket_path);
	setsockopt(connection, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
	if (connect(connection, (struct sockaddr *)&address, sizeof address))
		return strerror(errno);
	int length = snprintf(head, sizeof head, "POST /cni/%s HTTP/1.0\r\nHost: weave\r\n"
			      "Content-Type: application/octet-stream\r\nContent-Length: %zu\r\n\r\n", plugin, request_size);
	/* The head goes right in front of the body, so that the router has both at once. */
	char *whole = request - length;
	size_t size_of_whole = request_size + (size_t)length;
	memcpy(whole, head, (size_t)length);
	for (size_t sent = 0; sent < size_of_whole;) {
		ssize_t done = send(connection, whole + sent, size_of_whole - sent, MSG_NOSIGNAL);
		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return "it hung up";
		sent += (size_t)done;
	}
	while (*size < ANSWER_MOST) {
		if (!wait_for(connection, POLLIN))
			return "nothing within 60 s";
		ssize_t got = recv(connection, answer + *size, ANSWER_MOST - *size, 0);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return "it hung up";
		if (got == 0)
			return NULL;
		*size += (size_t)got;
	}
	return "its answer is too long";
}

/* The number after `content-length:` in the head of the answer, or -1. */
static long content_length(const char *head)
{
	for (const char *line = strstr(head, "\r\n"); line; line = strstr(line + 2, "\r\n"))
		if (!strncasecmp(line + 2, "content-length:", 15))
			return strtol(line + 17, NULL, 10);
	return -1;
}

/* Print what the router says and return how it says we end; or return -1 with the reason. */
static int ask(const char **reason)
{
	size_t size = 0;
	int connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (connection < 0) {
		*reason = strerror(errno);
		return -1;
	}
	*reason = exchange(connection, &size);
	close(connection);
	if (*reason)
		return -1;
	char *body = memmem(answer, size, "\r\n\r\n", 4);
	*reason = body ? "it refused the request" : "it hung up";
	if (!body)
		return -1;
	*body = 0;
	body += 4;
	const char *space = strchr(answer, ' ');
	if (!space || strncmp(space, " 200", 4))
		return -1;
	*reason = "it hung up in the middle of its answer";
	size_t left = size - (size_t)(body - answer);
	char *feed = memchr(body, '\n', left);
	if (!feed || feed == body || content_length(answer) != (long)left)
		return -1;
	*feed++ = 0;
	if (strspn(body, "0123456789") != strlen(body))
		return -1;
	fflush(stdout);
	write_all(STDOUT_FILENO, feed, left - (size_t)(feed - body));
	return atoi(body) & 0xFF;
}

static uint64_t add_to_digest(uint64_t value, const char *octets, size_t size)
{
	while (size--)
		value = (value ^ (unsigned char)*octets++) * UINT64_C(0x100000001B3);
	return value;
}

static bool is_full(const char *directory)
{
	int count = 0;
	DIR *open_directory = opendir(directory);
	if (!open_directory)
		return false;
	while (readdir(open_directory))
		count++;
	closedir(open_directory);
	return count > SPOOLED_MOST;
}

/* Keep a DEL for the next start of the router; it is no failure that the router is not there. */
static int leave_for_later(void)
{
	const char *container = variable("CNI_CONTAINERID"), *interface = variable("CNI_IFNAME");
	char directory[256], part[512], name[512];
	if (!*container || !*interface)
		return fail(INVALID_ENVIRONMENT, "the environment lacks CNI_CONTAINERID or CNI_IFNAME", "");
	const char *slash = strrchr(socket_path, '/');
	if (!slash || slash - socket_path > 200)
		return fail(TRY_AGAIN, "the weave router is down, and its socket has no directory", "");
	snprintf(directory, sizeof directory, "%.*s/cni-spool", (int)(slash - socket_path), socket_path);
	if (mkdir(directory, 0700) && errno == EEXIST && is_full(directory))
		return fail(TRY_AGAIN, "the weave router is down, and too much waits for it already", "");
	uint64_t digest = add_to_digest(UINT64_C(0xCBF29CE484222325), container, strlen(container) + 1);
	digest = add_to_digest(digest, interface, strlen(interface));
	snprintf(name, sizeof name, "%s/%s-%016llx.del", directory, plugin, (unsigned long long)digest);
	snprintf(part, sizeof part, "%s/%s-%016llx.%ld", directory, plugin, (unsigned long long)digest, (long)getpid());
	int file = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (file < 0 || !write_all(file, request, request_size) || close(file) || rename(part, name))
		return fail(TRY_AGAIN, "the weave router is down, and the deletion cannot be kept for it: ",
			    strerror(errno));
	return 0;
}

int main(int count, char **words)
{
	const char *verb = variable("CNI_COMMAND"), *given = getenv("WEAVE_SOCKET"), *reason = NULL;
	const char *called = count > 0 ? strrchr(words[0], '/') : NULL;
	called = called ? called + 1 : count > 0 ? words[0] : "";
	if (!strncmp(called, "weave-ipam", 10))
		plugin = "weave-ipam";
	if (given && *given)
		socket_path = given;
	deadline = now() + DEADLINE_S;
	reason = read_input();
	if (reason)
		return fail(IO_FAILURE, reason, "");
	if (!strcmp(verb, "VERSION")) {
		printf("{\"cniVersion\": \"%s\", \"supportedVersions\": [%s]}", version_or("1.1.0"), VERSIONS);
		return 0;
	}
	if (!encode())
		return fail(IO_FAILURE, "the environment is too large", "");
	int status = ask(&reason);
	if (status >= 0)
		return status;
	if (!strcmp(verb, "DEL"))
		return leave_for_later();
	char more[256];
	snprintf(more, sizeof more, "%s); start it with `weave launch`, or look into its log", reason);
	return fail(!strcmp(verb, "STATUS") ? UNAVAILABLE : TRY_AGAIN, "the weave router does not answer (", more);
}
