/* The first step of a SINR decoder: container, the smallest HEAD, one linear layer, packed values. Make it yours.
 *
 * Build: cc -std=c99 -O2 -o decoder decoder.c -lm. Usage: ./decoder IN.sinr OUT.npy. The C library only. What it
 * cannot do yet ends with exit status 4, never with a guess. Clauses are those of spec/sinr-1.md; conformance/FIRST.md
 * says how to go on.
 */

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEAD = 1, PASS = 2, LAST = 0x10, ANCILLARY = 0x80 };
enum { LINEAR = 1, RAW = 0, SCALAR = 1, NO_BIAS = 0x20, BINARY16 = 0x40 };
enum { LARGEST_FILE = 65536, LARGEST_WEIGHTS = 16384, LARGEST_OUTPUT = 1 << 22 }; /* those of level 1, clause 14 */

/* DEC-2: one line, the exit status of the class, nothing written. */
static void fail(int status, int code, const char *name, const char *error_class, long offset)
{
    printf("{\"code\": %d, \"name\": \"%s\", \"class\": \"%s\", \"offset\": %ld}\n", code, name, error_class, offset);
    exit(status);
}

static void not_yet(long offset)
{
    fail(4, 204, "UNSUPPORTED_FEATURE", "unsupported", offset);
}

static void truncated(long size)
{
    fail(3, 108, "TRUNCATED", "truncated", size);
}

/* --- check values: CNV-5, SHA-256 -------------------------------------------------------------- */

static uint8_t crc8(const uint8_t *data, size_t n)
{
    uint8_t crc = 0;
    for (size_t i = 0; i < n; i++) {
        crc ^= data[i];
        for (int k = 0; k < 8; k++)
            crc = (uint8_t)((crc << 1) ^ (crc & 0x80 ? 0x07 : 0));
    }
    return crc;
}

static uint32_t crc32(uint32_t start, const uint8_t *data, size_t n)
{
    uint32_t crc = ~start;
    for (size_t i = 0; i < n; i++) {
        crc ^= data[i];
        for (int k = 0; k < 8; k++)
            crc = (crc >> 1) ^ (crc & 1 ? 0xEDB88320u : 0);
    }
    return ~crc;
}

static uint32_t rotated(uint32_t x, int n)
{
    return (x >> n) | (x << (32 - n));
}

/* The first 32 bits of the fractional part of a root: the constants of SHA-256 need no table. */
static uint32_t fraction(long double root)
{
    return (uint32_t)((root - floorl(root)) * 4294967296.0L);
}

static int is_prime(int n)
{
    for (int d = 2; d * d <= n; d++)
        if (n % d == 0)
            return 0;
    return 1;
}

static void sha256_block(uint32_t state[8], const uint8_t *block, const uint32_t k[64])
{
    uint32_t w[64], s[8];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 | (uint32_t)block[4 * i + 2] << 8 | block[4 * i + 3];
    for (int i = 16; i < 64; i++) {
        uint32_t a = rotated(w[i - 15], 7) ^ rotated(w[i - 15], 18) ^ (w[i - 15] >> 3);
        uint32_t b = rotated(w[i - 2], 17) ^ rotated(w[i - 2], 19) ^ (w[i - 2] >> 10);
        w[i] = w[i - 16] + a + w[i - 7] + b;
    }
    memcpy(s, state, sizeof s);
    for (int i = 0; i < 64; i++) {
        uint32_t a = rotated(s[4], 6) ^ rotated(s[4], 11) ^ rotated(s[4], 25);
        uint32_t b = rotated(s[0], 2) ^ rotated(s[0], 13) ^ rotated(s[0], 22);
        uint32_t t = s[7] + a + ((s[4] & s[5]) ^ (~s[4] & s[6])) + k[i] + w[i];
        uint32_t u = b + ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
        memmove(s + 1, s, 7 * sizeof *s);
        s[4] += t;
        s[0] = t + u;
    }
    for (int i = 0; i < 8; i++)
        state[i] += s[i];
}

static void sha256_hex(const uint8_t *data, size_t n, char hex[65])
{
    uint32_t k[64], state[8];
    for (int prime = 2, i = 0; i < 64; prime++)
        if (is_prime(prime)) {
            if (i < 8)
                state[i] = fraction(sqrtl(prime));
            k[i++] = fraction(cbrtl(prime));
        }
    size_t padded = (n + 72) / 64 * 64;
    uint8_t *copy = calloc(padded, 1);
    memcpy(copy, data, n);
    copy[n] = 0x80;
    for (int i = 0; i < 8; i++)
        copy[padded - 1 - i] = (uint8_t)((uint64_t)n * 8 >> 8 * i);
    for (size_t at = 0; at < padded; at += 64)
        sha256_block(state, copy + at, k);
    free(copy);
    for (int i = 0; i < 8; i++)
        sprintf(hex + 8 * i, "%08x", (unsigned)state[i]);
}

/* --- clauses 6 and 7: HEAD and PASS -------------------------------------------------------------- */

static uint32_t little(const uint8_t *at, int n)
{
    uint32_t value = 0;
    for (int i = n - 1; i >= 0; i--)
        value = value << 8 | at[i];
    return value;
}

struct head {
    int in_dims, out_channels, tool_flags, is_read;
    uint32_t grid[8];
};

/* Clause 6.1 for files without features, with one linear record and coordinates 0. */
static void read_head(struct head *head, const uint8_t *payload, long size, long offset)
{
    if (size < 15 || payload[0] >> 4 != 1 || payload[2] || payload[3] || payload[4])
        not_yet(offset);
    head->in_dims = payload[6];
    head->out_channels = payload[7];
    if (head->in_dims < 1 || head->in_dims > 8 || !head->out_channels || size != 13 + 2 * head->in_dims)
        not_yet(offset);
    const uint8_t *record = payload + 10 + 2 * head->in_dims;
    uint64_t n_output = (uint64_t)head->out_channels;
    for (int i = 0; i < head->in_dims; i++) {
        head->grid[i] = little(payload + 10 + 2 * i, 2);
        n_output *= head->grid[i];
        if (!n_output || n_output > LARGEST_OUTPUT)
            not_yet(offset);
    }
    if (payload[8] & 15 || payload[9] != 1 || record[0] != 1 || record[1] != LINEAR)
        not_yet(offset);
    head->tool_flags = record[2];
    if ((head->tool_flags & ~(NO_BIAS | BINARY16)) > SCALAR)
        not_yet(offset);
    head->is_read = 1;
}

/* A bit string, least significant bit first (CNV-3). Bits behind its end are 0. */
struct bits {
    const uint8_t *data;
    long size, at;
};

static uint32_t take(struct bits *bits, int n)
{
    uint32_t value = 0;
    for (int i = 0; i < n; i++, bits->at++)
        if (bits->at < 8 * bits->size)
            value |= (uint32_t)(bits->data[bits->at >> 3] >> (bits->at & 7) & 1) << i;
    return value;
}

static float weight_of(int32_t acc, int code) /* clause 9.1 */
{
    static const double steps[8] = {8388608, 9147842, 9975792, 10878679, 11863283, 12937002, 14107901, 15384775};
    return (float)((double)(float)acc * ldexp(steps[code & 7], (code >> 3) - 123));
}

static float from_raw(uint32_t pattern, int is_half) /* clause 9.2 */
{
    float value;
    if (is_half) {
        int exponent = pattern >> 10 & 31, significand = pattern & 1023;
        value = (float)(exponent ? ldexp(1024 + significand, exponent - 25) : ldexp(significand, -24));
        return pattern >> 15 ? -value : value;
    }
    memcpy(&value, &pattern, sizeof value);
    return value;
}

/* Clauses 7, 9.1 to 9.3 and 11: weights in table order; their number, and acc_crc as it is stored. */
static long read_pass(const struct head *head, const uint8_t *payload, long size, long offset, float *weights, uint32_t *acc_crc)
{
    if (size < 6 || payload[0] != 0x08 || payload[1] != 0) /* coding 0, last chunk of its pass, pass 0 */
        not_yet(offset);
    int is_scalar = (head->tool_flags & 7) == SCALAR, is_half = !!(head->tool_flags & BINARY16);
    int n_tensors = head->tool_flags & NO_BIAS ? 1 : 2, code[2] = {0, 0}, n_bits[2] = {0, 0};
    struct bits table = {payload + 6, size - 6, 0};
    for (int t = 0; t < n_tensors; t++) {
        n_bits[t] = is_half ? 16 : 32;
        if (is_scalar) {
            code[t] = (int)(take(&table, 1) ? take(&table, 10) : 680 + take(&table, 7));
            n_bits[t] = (int)take(&table, 5) + 1;
        }
    }
    struct bits body = {payload + 6, size - 6, (table.at + 7) / 8 * 8};
    uint32_t crc = 0;
    long n = 0;
    for (int t = 0; t < n_tensors; t++)
        for (int i = 0; i < head->out_channels * (t ? 1 : head->in_dims); i++) {
            uint32_t value = take(&body, n_bits[t]);
            if (is_scalar && value >> (n_bits[t] - 1))
                value |= ~(uint32_t)0 << (n_bits[t] - 1);
            uint8_t bytes[4] = {(uint8_t)value, (uint8_t)(value >> 8), (uint8_t)(value >> 16), (uint8_t)(value >> 24)};
            crc = crc32(crc, bytes, 4);
            weights[n++] = is_scalar ? weight_of((int32_t)value, code[t]) : from_raw(value, is_half);
        }
    *acc_crc = little(payload + 2, 4);
    if (crc != *acc_crc)
        fail(3, 310, "ACC_CRC_MISMATCH", "integrity", offset + 2);
    return n;
}

/* --- clause 16 and the command of clause 15 ------------------------------------------------------- */

static void put_float(uint8_t *at, float value)
{
    uint32_t pattern;
    memcpy(&pattern, &value, 4);
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(pattern >> 8 * i);
}

/* Clauses 16.1 and 16.3: W x + b at every sample, in C order. */
static void write_values(FILE *out, const struct head *head, const float *weights)
{
    char text[256] = "{'descr': '<f4', 'fortran_order': False, 'shape': (";
    size_t n_samples = 1;
    for (int i = 0; i < head->in_dims; i++) {
        sprintf(text + strlen(text), "%u, ", (unsigned)head->grid[i]);
        n_samples *= head->grid[i];
    }
    sprintf(text + strlen(text), "%d), }", head->out_channels);
    size_t n_text = (strlen(text) + 11 + 63) / 64 * 64 - 10;
    uint8_t start[10] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (uint8_t)n_text, (uint8_t)(n_text >> 8)};
    fwrite(start, 1, sizeof start, out);
    fprintf(out, "%-*s\n", (int)n_text - 1, text);
    const float *bias = head->tool_flags & NO_BIAS ? NULL : weights + head->out_channels * head->in_dims;
    for (size_t sample = 0; sample < n_samples; sample++) {
        float x[8];
        size_t rest = sample;
        for (int axis = head->in_dims - 1; axis >= 0; rest /= head->grid[axis], axis--)
            x[axis] = (float)((2.0 * (double)(rest % head->grid[axis]) + 1) / head->grid[axis] - 1);
        for (int row = 0; row < head->out_channels; row++) {
            double sum = 0;
            uint8_t bytes[4];
            for (int i = 0; i < head->in_dims; i++)
                sum += (double)weights[row * head->in_dims + i] * x[i];
            put_float(bytes, (float)(sum + (bias ? bias[row] : 0)));
            fwrite(bytes, 1, 4, out);
        }
    }
}

/* The chunks, checked by CON-1, CON-2, CON-3 and CON-7; the number of weights. */
static long decode(const uint8_t *data, long size, struct head *head, float *weights, uint32_t *acc_crc)
{
    static const uint8_t signature[4] = {0x53, 0x49, 0x4E, 0xD2};
    if (memcmp(data, signature, size < 4 ? (size_t)size : 4))
        fail(3, 101, "BAD_SIGNATURE", "malformed", 0);
    if (size < 4)
        truncated(size);
    uint32_t start = 0;
    long at = 4, n_weights = 0;
    for (int is_last = 0; !is_last;) {
        if (size - at < 5)
            truncated(size);
        if (crc8(data + at, 4) != data[at + 4])
            fail(3, 102, "HEADER_CHECK_MISMATCH", "integrity", at + 4);
        long length = (long)little(data + at + 1, 3), end = at + 5 + length;
        if (end + 4 > size)
            truncated(size);
        uint32_t crc = little(data + end, 4);
        if (crc32(start, data + at, (size_t)(end - at)) != crc)
            fail(3, 103, "CHUNK_CRC_MISMATCH", "integrity", end);
        if (!start) /* HEAD's crc32 is the start for all later chunks */
            start = crc;
        is_last = data[at] & LAST;
        int kind = data[at] & ~LAST;
        if (kind == HEAD && !head->is_read)
            read_head(head, data + at + 5, length, at + 5);
        else if (kind == PASS && head->is_read)
            n_weights = read_pass(head, data + at + 5, length, at + 5, weights, acc_crc);
        else if (!(kind & ANCILLARY))
            not_yet(at);
        at = end + 4;
    }
    if (at < size)
        fail(3, 107, "TRAILING_DATA", "malformed", at);
    if (!n_weights)
        not_yet(size);
    return n_weights;
}

int main(int argc, char **argv)
{
    static uint8_t data[LARGEST_FILE + 1], bytes[4 * LARGEST_WEIGHTS];
    static float weights[LARGEST_WEIGHTS];
    struct head head = {0};
    uint32_t acc_crc = 0;
    char hex[65];
    if (argc != 3) /* options of clause 15 come later */
        not_yet(0);
    FILE *file = fopen(argv[1], "rb");
    if (!file)
        not_yet(0);
    long size = (long)fread(data, 1, sizeof data, file);
    fclose(file);
    if (size > LARGEST_FILE)
        not_yet(0);
    long n_weights = decode(data, size, &head, weights, &acc_crc);
    for (long i = 0; i < n_weights; i++)
        put_float(bytes + 4 * i, weights[i]);
    sha256_hex(bytes, 4 * (size_t)n_weights, hex);
    file = fopen(argv[2], "wb");
    if (!file)
        not_yet(0);
    write_values(file, &head, weights);
    fclose(file);
    printf("{\"weights_sha256\": \"%s\", \"acc_crc\": [\"%08x\"], \"passes\": 1}\n", hex, (unsigned)acc_crc);
    return 0;
}
