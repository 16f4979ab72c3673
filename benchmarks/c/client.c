/* The broker's own limit: publish or consume as fast as one connection goes, without a framework.
 *
 *   client host=H port=P vhost=V user=U exchange=E key=K queue=Q n=N window=W type=T body=B publish|consume
 *
 * The password is in the environment, as ORDERMQ_BROKER_PASSWORD. Every publishing is persistent
 * and mandatory, with the properties and headers that ordermq sets, and at most ``window`` are
 * without a confirm; every 50th delivery is acked together with those before it. The answer is one
 * line: {"seconds": from warm to done, "done": how many}. Any failure ends it with 1.
 */
#include <amqp.h>
#include <amqp_tcp_socket.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

#define CHANNEL 1
#define ACK_EVERY 50
#define HEADERS 5

static amqp_connection_state_t connection;
static int arguments;
static char **given;

static void fail(const char *what) {
    fprintf(stderr, "client: %s\n", what);
    exit(1);
}

static void check(amqp_rpc_reply_t reply, const char *what) {
    if (reply.reply_type != AMQP_RESPONSE_NORMAL) fail(what);
}

/* The value of the argument key=value. */
static char *value(const char *key) {
    size_t length = strlen(key);
    for (int i = 1; i < arguments; i++)
        if (!strncmp(given[i], key, length) && given[i][length] == '=') return given[i] + length + 1;
    fail(key);
    return NULL;
}

static double now_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec / 1e9;
}

static void answer(double seconds, long done) {
    printf("{\"seconds\": %.6f, \"done\": %ld}\n", seconds, done);
}

static void open_connection(void) {
    connection = amqp_new_connection();
    amqp_socket_t *socket = amqp_tcp_socket_new(connection);
    char *password = getenv("ORDERMQ_BROKER_PASSWORD");
    if (!socket || !password) fail("no socket, or no password");
    if (amqp_socket_open(socket, value("host"), atoi(value("port")))) fail("no connection");
    check(amqp_login(connection, value("vhost"), 0, 131072, 0, AMQP_SASL_METHOD_PLAIN, value("user"), password),
          "login refused");
    amqp_channel_open(connection, CHANNEL);
    check(amqp_get_rpc_reply(connection), "no channel");
}

static void close_connection(void) {
    check(amqp_connection_close(connection, AMQP_REPLY_SUCCESS), "not closed in peace");
    amqp_destroy_connection(connection);
}

/* --- publish ---------------------------------------------------------------- */

static char *is_settled;      /* by delivery tag */
static long first_unsettled = 1, in_flight = 0;

static void settle(long tag) {
    if (!is_settled[tag]) {
        is_settled[tag] = 1;
        in_flight--;
    }
}

/* Read confirms until at most ``most`` publishings are without one. */
static void wait_until_in_flight(long most) {
    while (in_flight > most) {
        amqp_frame_t frame;
        amqp_maybe_release_buffers(connection);
        if (amqp_simple_wait_frame(connection, &frame) != AMQP_STATUS_OK) fail("connection lost");
        if (frame.frame_type != AMQP_FRAME_METHOD || frame.payload.method.id != AMQP_BASIC_ACK_METHOD)
            fail("something else than a confirm: a return, a nack, or a closed channel");
        amqp_basic_ack_t *ack = frame.payload.method.decoded;
        for (long tag = ack->multiple ? first_unsettled : (long)ack->delivery_tag; tag <= (long)ack->delivery_tag; tag++)
            settle(tag);
        while (is_settled[first_unsettled]) first_unsettled++;
    }
}

static amqp_table_entry_t number_header(char *name, int number) {
    amqp_table_entry_t entry = {.key = amqp_cstring_bytes(name)};
    entry.value.kind = AMQP_FIELD_KIND_I32;
    entry.value.value.i32 = number;
    return entry;
}

static amqp_table_entry_t text_header(char *name, char *text) {
    amqp_table_entry_t entry = {.key = amqp_cstring_bytes(name)};
    entry.value.kind = AMQP_FIELD_KIND_UTF8;
    entry.value.value.bytes = amqp_cstring_bytes(text);
    return entry;
}

static void publish(long number) {
    static char message_id[64], correlation_id[64];
    amqp_table_entry_t headers[HEADERS] = {
        number_header("x-ordermq-version", 1), number_header("x-ordermq-attempt", 1),
        number_header("x-ordermq-hop", 0), text_header("x-ordermq-occurred-at", "2026-03-01T10:15:30+00:00"),
        text_header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    };
    snprintf(message_id, sizeof message_id, "2026-03-01-%08ld:1:%s", number, value("key"));
    snprintf(correlation_id, sizeof correlation_id, "2026-03-01-%08ld", number);
    amqp_basic_properties_t properties = {
        ._flags = AMQP_BASIC_CONTENT_TYPE_FLAG | AMQP_BASIC_DELIVERY_MODE_FLAG | AMQP_BASIC_MESSAGE_ID_FLAG |
                  AMQP_BASIC_TYPE_FLAG | AMQP_BASIC_CORRELATION_ID_FLAG | AMQP_BASIC_TIMESTAMP_FLAG |
                  AMQP_BASIC_HEADERS_FLAG,
        .content_type = amqp_cstring_bytes("application/json"), .delivery_mode = AMQP_DELIVERY_PERSISTENT,
        .message_id = amqp_cstring_bytes(message_id), .correlation_id = amqp_cstring_bytes(correlation_id),
        .type = amqp_cstring_bytes(value("type")), .timestamp = 1772360130,
        .headers = {.num_entries = HEADERS, .entries = headers},
    };
    if (amqp_basic_publish(connection, CHANNEL, amqp_cstring_bytes(value("exchange")),
                           amqp_cstring_bytes(value("key")), 1, 0, &properties, amqp_cstring_bytes(value("body"))))
        fail("connection lost while publishing");
    in_flight++;
}

static void publish_all(long n, long window) {
    is_settled = calloc(n + 3, 1);
    amqp_confirm_select(connection, CHANNEL);
    check(amqp_get_rpc_reply(connection), "no confirms");
    publish(0);
    wait_until_in_flight(0);
    double began = now_s();
    for (long number = 1; number <= n; number++) {
        if (in_flight >= window) wait_until_in_flight(window / 2);
        publish(number);
    }
    wait_until_in_flight(0);
    answer(now_s() - began, n + 1);
}

/* --- consume ---------------------------------------------------------------- */

static void consume_all(long n, int prefetch) {
    double began = 0;
    amqp_basic_qos(connection, CHANNEL, 0, prefetch, 0);
    check(amqp_get_rpc_reply(connection), "no prefetch");
    amqp_basic_consume(connection, CHANNEL, amqp_cstring_bytes(value("queue")), amqp_empty_bytes, 0, 0, 0,
                       amqp_empty_table);
    check(amqp_get_rpc_reply(connection), "no consumer");
    for (long number = 1; number <= n; number++) {
        amqp_envelope_t envelope;
        struct timeval timeout = {.tv_sec = 30};
        amqp_maybe_release_buffers(connection);
        check(amqp_consume_message(connection, &envelope, &timeout, 0), "no delivery");
        if (number == 1) began = now_s();
        if (number % ACK_EVERY == 0 || number == n) amqp_basic_ack(connection, CHANNEL, envelope.delivery_tag, 1);
        amqp_destroy_envelope(&envelope);
    }
    answer(now_s() - began, n);
}

int main(int argc, char **argv) {
    arguments = argc;
    given = argv;
    const char *mode = argv[argc - 1];
    long n = atol(value("n"));
    open_connection();
    if (!strcmp(mode, "publish"))
        publish_all(n, atol(value("window")));
    else if (!strcmp(mode, "consume"))
        consume_all(n, atoi(value("window")));
    else
        fail("neither publish nor consume");
    close_connection();
    return 0;
}
