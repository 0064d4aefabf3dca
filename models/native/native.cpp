// The recurrent basecallers on CPUs with AVX-512 VNNI: convolutions, LSTMs and the linear layer, for one thread.
//
// What always holds: a row of a batch is computed by the same operations in the same order whatever the other
// rows are and however many they are. Knows no files, no configs and no threads: `models/native/native.py`
// hands in packed weights and every buffer.
//
// Products are of integers. What an LSTM gives lies within -1 and 1 and needs no more than a byte: 128 + 127 h,
// unsigned, by weights of a byte. What other layers give has no such bounds: words of 13 bits by weights of up to 16,
// and one scale a vector, taken from its greatest number. Weights have a scale an output. Sums are of 32 bits and
// cannot overflow (`packing.py`); activations and cells are float32.
//
// Weights are blocks of up to 64 outputs, [inputs / together][parts][16][together]: four bytes or two words together,
// so that one instruction multiplies them by the weights of 16 outputs.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#define KERNEL __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma")))
#define KERNEL_INLINE KERNEL __attribute__((always_inline)) inline
#define UNROLLED _Pragma("GCC unroll 8")

namespace {

constexpr int LANES = 16;
// Six rows times four vectors of outputs fill 24 of the 32 registers with sums.
constexpr int ROWS = 6, PARTS = 4;
constexpr float LOG2_E = 1.44269504088896341f;
// The greatest word, and a state of one and of zero as a byte: as in `packing.py`.
constexpr float MOST = 4095.0f, ONE = 127.0f;
constexpr int ZERO = 128;

enum Activation { NONE = 0, SWISH = 1, TANH = 2 };

// An activation, and the bounds that a clamp after it sets (infinite where there is none).
struct Shape {
    int activation;
    float low, high;
};

// Rows of bytes, or of words with a scale each; `step` is from row to row, in bytes.
struct Rows {
    const uint8_t* at;
    size_t step;
    const float* scales;  // null where they are bytes

    KERNEL Rows from(int row) const { return {at + row * step, step, scales ? scales + row : nullptr}; }
};

// A product's weights, `fours` groups of four bytes an output, and what an output's sum is multiplied by and added to.
struct Weights {
    const int8_t* at;
    const float* scales;
    const float* biases;
    int fours, outputs;
};

// 2^x for the decoder. The Taylor polynomial of degree 5 on [-0.5, 0.5]: its relative error is under 3e-6.
KERNEL_INLINE __m512 exp2_ps(__m512 x) {
    x = _mm512_min_ps(_mm512_max_ps(x, _mm512_set1_ps(-126.0f)), _mm512_set1_ps(126.0f));
    const __m512 whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const __m512 part = _mm512_sub_ps(x, whole);
    __m512 value = _mm512_set1_ps(1.33335581e-3f);
    value = _mm512_fmadd_ps(value, part, _mm512_set1_ps(9.61812911e-3f));
    value = _mm512_fmadd_ps(value, part, _mm512_set1_ps(5.55041087e-2f));
    value = _mm512_fmadd_ps(value, part, _mm512_set1_ps(2.40226507e-1f));
    value = _mm512_fmadd_ps(value, part, _mm512_set1_ps(6.93147181e-1f));
    value = _mm512_fmadd_ps(value, part, _mm512_set1_ps(1.0f));
    return _mm512_scalef_ps(value, whole);
}

// 2^x up to 2^40, so that the product of three is finite. The polynomial of degree 3 of least relative error on
// [-0.5, 0.5], 8e-5: a fiftieth of what rounding a state to a byte makes.
KERNEL_INLINE __m512 rough_exp2_ps(__m512 x) {
    x = _mm512_min_ps(x, _mm512_set1_ps(40.0f));
    const __m512 whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const __m512 part = _mm512_sub_ps(x, whole);
    __m512 value = _mm512_set1_ps(5.517166954e-2f);
    value = _mm512_fmadd_ps(value, part, _mm512_set1_ps(2.426111254e-1f));
    value = _mm512_fmadd_ps(value, part, _mm512_set1_ps(6.932609857e-1f));
    value = _mm512_fmadd_ps(value, part, _mm512_set1_ps(9.999280733e-1f));
    return _mm512_scalef_ps(value, whole);
}

KERNEL_INLINE __m512 one_and_exp2_ps(__m512 x) { return _mm512_add_ps(_mm512_set1_ps(1.0f), rough_exp2_ps(x)); }

// 1 / x, to 28 bits: one Newton step.
KERNEL_INLINE __m512 inverse_ps(__m512 x) {
    const __m512 rough = _mm512_rcp14_ps(x);
    return _mm512_mul_ps(rough, _mm512_fnmadd_ps(x, rough, _mm512_set1_ps(2.0f)));
}

KERNEL_INLINE __m512 activate(__m512 x, const Shape& shape) {
    if (shape.activation == SWISH)
        x = _mm512_mul_ps(x, inverse_ps(one_and_exp2_ps(_mm512_mul_ps(x, _mm512_set1_ps(-LOG2_E)))));
    else if (shape.activation == TANH)
        x = _mm512_fmsub_ps(_mm512_set1_ps(2.0f),
                            inverse_ps(one_and_exp2_ps(_mm512_mul_ps(x, _mm512_set1_ps(-2.0f * LOG2_E)))),
                            _mm512_set1_ps(1.0f));
    return _mm512_min_ps(_mm512_max_ps(x, _mm512_set1_ps(shape.low)), _mm512_set1_ps(shape.high));
}

// sums[row][part] += rows times weights, over `fours` groups of four bytes: four bytes each, or two words.
template <bool BYTES, int COUNT, int WIDTH>
KERNEL_INLINE void multiply(__m512i (&sums)[COUNT][WIDTH], const Rows& rows, const int8_t* weights, int fours) {
    // A copy that nobody else sees, and no loop over it: or else compilers store each sum after each addition.
    __m512i kept[COUNT][WIDTH];
    UNROLLED for (int r = 0; r < COUNT; ++r)
        UNROLLED for (int p = 0; p < WIDTH; ++p) kept[r][p] = sums[r][p];
    for (int k = 0; k < fours; ++k) {
        __m512i w[WIDTH];
        UNROLLED for (int p = 0; p < WIDTH; ++p) w[p] = _mm512_loadu_si512(weights + (k * WIDTH + p) * 4 * LANES);
        UNROLLED for (int r = 0; r < COUNT; ++r) {
            int32_t four;
            std::memcpy(&four, rows.at + r * rows.step + 4 * k, sizeof four);
            const __m512i x = _mm512_set1_epi32(four);
            UNROLLED for (int p = 0; p < WIDTH; ++p)
                kept[r][p] = BYTES ? _mm512_dpbusd_epi32(kept[r][p], x, w[p]) : _mm512_dpwssd_epi32(kept[r][p], x, w[p]);
        }
    }
    UNROLLED for (int r = 0; r < COUNT; ++r)
        UNROLLED for (int p = 0; p < WIDTH; ++p) sums[r][p] = kept[r][p];
}

template <int COUNT, int WIDTH>
KERNEL_INLINE void clear(__m512i (&sums)[COUNT][WIDTH]) {
    for (int r = 0; r < COUNT; ++r)
        for (int p = 0; p < WIDTH; ++p) sums[r][p] = _mm512_setzero_si512();
}

// The first WIDTH * 16 outputs of COUNT rows, times `factor`.
template <bool BYTES, int COUNT, int WIDTH>
KERNEL_INLINE void dense_part(const Rows& rows, const Weights& weights, const Shape& shape, float factor, float* to,
                              size_t to_step) {
    __m512i sums[COUNT][WIDTH];
    clear(sums);
    multiply<BYTES>(sums, rows, weights.at, weights.fours);
    for (int r = 0; r < COUNT; ++r)
        for (int p = 0; p < WIDTH; ++p) {
            __m512 scale = _mm512_loadu_ps(weights.scales + p * LANES);
            if (!BYTES) scale = _mm512_mul_ps(scale, _mm512_set1_ps(rows.scales[r]));
            const __m512 value =
                _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[r][p]), scale, _mm512_loadu_ps(weights.biases + p * LANES));
            _mm512_storeu_ps(to + r * to_step + p * LANES,
                             _mm512_mul_ps(activate(value, shape), _mm512_set1_ps(factor)));
        }
}

// All outputs of COUNT rows -> float32 rows, `to_step` apart.
template <bool BYTES, int COUNT>
KERNEL void dense(const Rows& rows, const Weights& weights, const Shape& shape, float factor, float* to,
                  size_t to_step) {
    for (int o = 0; o < weights.outputs; o += PARTS * LANES) {
        const Weights part = {weights.at + static_cast<size_t>(o) * 4 * weights.fours, weights.scales + o,
                              weights.biases + o, weights.fours, 0};
        switch (std::min(PARTS, (weights.outputs - o) / LANES)) {
            case 4: dense_part<BYTES, COUNT, 4>(rows, part, shape, factor, to + o, to_step); break;
            case 3: dense_part<BYTES, COUNT, 3>(rows, part, shape, factor, to + o, to_step); break;
            case 2: dense_part<BYTES, COUNT, 2>(rows, part, shape, factor, to + o, to_step); break;
            default: dense_part<BYTES, COUNT, 1>(rows, part, shape, factor, to + o, to_step); break;
        }
    }
}

template <int COUNT>
KERNEL void dense_rows(const Rows& rows, const Weights& weights, const Shape& shape, float factor, float* to,
                       size_t to_step) {
    if (rows.scales)
        dense<false, COUNT>(rows, weights, shape, factor, to, to_step);
    else
        dense<true, COUNT>(rows, weights, shape, factor, to, to_step);
}

// `count` numbers -> words; what they are to be multiplied by is returned.
KERNEL float to_words(const float* from, int count, int16_t* to) {
    const auto mask = [count](int k) { return static_cast<__mmask16>((1u << std::min(LANES, count - k)) - 1u); };
    __m512 top = _mm512_setzero_ps();
    for (int k = 0; k < count; k += LANES) top = _mm512_max_ps(top, _mm512_abs_ps(_mm512_maskz_loadu_ps(mask(k), from + k)));
    const float highest = std::max(_mm512_reduce_max_ps(top), 1e-30f);
    const __m512 factor = _mm512_set1_ps(MOST / highest);
    for (int k = 0; k < count; k += LANES) {
        const __m512i whole = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_maskz_loadu_ps(mask(k), from + k), factor));
        _mm256_mask_storeu_epi16(to + k, mask(k), _mm512_cvtepi32_epi16(whole));
    }
    return highest / MOST;
}

// One time step of COUNT rows and 16 units. Gates come as i, f, g, o; i, f and o are scaled by -log2(e), g by
// -2 log2(e), in scales and biases, and cells are kept times -2 log2(e), so that exp2 needs no multiplication.
// `x` are bytes, and its weights before those of `h`, or words with weights `x_weights` of their own.
template <int COUNT, bool WORDS>
KERNEL_INLINE void lstm_cells(const Rows& x, int x_fours, const int8_t* x_weights, const float* x_scales, const Rows& h,
                              const Weights& weights, float* cells, uint8_t* out, int units) {
    __m512 sums[COUNT][PARTS];
    __m512i whole[COUNT][PARTS];
    clear(whole);
    if (WORDS) {
        multiply<false>(whole, x, x_weights, x_fours);
        for (int r = 0; r < COUNT; ++r)
            for (int p = 0; p < PARTS; ++p) {
                const __m512 scale = _mm512_mul_ps(_mm512_loadu_ps(x_scales + p * LANES), _mm512_set1_ps(x.scales[r]));
                sums[r][p] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(whole[r][p]), scale,
                                             _mm512_loadu_ps(weights.biases + p * LANES));
            }
        clear(whole);
        multiply<true>(whole, h, weights.at, weights.fours);
    } else {
        multiply<true>(whole, x, weights.at, x_fours);
        multiply<true>(whole, h, weights.at + static_cast<size_t>(x_fours) * PARTS * 4 * LANES, weights.fours - x_fours);
    }
    // By stages and not by rows: what one row waits for, another can use.
    for (int r = 0; r < COUNT; ++r)
        for (int p = 0; p < PARTS; ++p)
            sums[r][p] = one_and_exp2_ps(_mm512_fmadd_ps(_mm512_cvtepi32_ps(whole[r][p]),
                                                         _mm512_loadu_ps(weights.scales + p * LANES),
                                                         WORDS ? sums[r][p] : _mm512_loadu_ps(weights.biases + p * LANES)));
    // With i = 1 / v0, f = 1 / v1, g = (2 - v2) / v2 and o = 1 / v3, a step needs two divisions and not five:
    // c' = c f + i g = (c v0 v2 + v1 (2 - v2)) / (v0 v1 v2), and o tanh(c') = (2 - e) / (e v3).
    const __m512 two = _mm512_set1_ps(2.0f), cell_scale = _mm512_set1_ps(-2.0f * LOG2_E);
    for (int r = 0; r < COUNT; ++r) {
        const __m512 (&v)[PARTS] = sums[r];
        float* at = cells + static_cast<size_t>(r) * units;
        const __m512 in = _mm512_mul_ps(v[0], v[2]);
        const __m512 candidate = _mm512_mul_ps(v[1], _mm512_fnmadd_ps(cell_scale, v[2], _mm512_add_ps(cell_scale, cell_scale)));
        _mm512_storeu_ps(at, _mm512_mul_ps(_mm512_fmadd_ps(_mm512_loadu_ps(at), in, candidate),
                                           inverse_ps(_mm512_mul_ps(in, v[1]))));
    }
    for (int r = 0; r < COUNT; ++r) {
        const __m512 e = one_and_exp2_ps(_mm512_loadu_ps(cells + static_cast<size_t>(r) * units));
        const __m512 state = _mm512_mul_ps(_mm512_mul_ps(_mm512_sub_ps(two, e), _mm512_set1_ps(ONE)),
                                           _mm512_rcp14_ps(_mm512_mul_ps(e, sums[r][3])));
        const __m512i byte = _mm512_add_epi32(_mm512_cvtps_epi32(state), _mm512_set1_epi32(ZERO));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(out + static_cast<size_t>(r) * units), _mm512_cvtepi32_epi8(byte));
    }
}

// Four vectors as a 4 x 4 matrix of single numbers in each quarter, transposed.
KERNEL_INLINE void transpose_within(__m512 (&v)[4]) {
    const __m512 a = _mm512_unpacklo_ps(v[0], v[1]), b = _mm512_unpackhi_ps(v[0], v[1]);
    const __m512 c = _mm512_unpacklo_ps(v[2], v[3]), d = _mm512_unpackhi_ps(v[2], v[3]);
    v[0] = _mm512_shuffle_ps(a, c, 0x44);
    v[1] = _mm512_shuffle_ps(a, c, 0xee);
    v[2] = _mm512_shuffle_ps(b, d, 0x44);
    v[3] = _mm512_shuffle_ps(b, d, 0xee);
}

// Four vectors as a 4 x 4 matrix of quarters, transposed.
KERNEL_INLINE void transpose_quarters(__m512 (&v)[4]) {
    const __m512 a = _mm512_shuffle_f32x4(v[0], v[1], 0x44), b = _mm512_shuffle_f32x4(v[0], v[1], 0xee);
    const __m512 c = _mm512_shuffle_f32x4(v[2], v[3], 0x44), d = _mm512_shuffle_f32x4(v[2], v[3], 0xee);
    v[0] = _mm512_shuffle_f32x4(a, c, 0x88);
    v[1] = _mm512_shuffle_f32x4(a, c, 0xdd);
    v[2] = _mm512_shuffle_f32x4(b, d, 0x88);
    v[3] = _mm512_shuffle_f32x4(b, d, 0xdd);
}

// The states that a move may come from stand a quarter of all states apart. In `by_source`, those four stand side by
// side: state q + j * quarter at 4 q + j.
KERNEL_INLINE void to_by_source(const float* states, int quarter, float* by_source) {
    for (int q = 0; q < quarter; q += LANES) {
        __m512 v[4];
        for (int j = 0; j < 4; ++j) v[j] = _mm512_loadu_ps(states + j * quarter + q);
        transpose_within(v);
        transpose_quarters(v);
        for (int m = 0; m < 4; ++m) _mm512_storeu_ps(by_source + 4 * q + m * LANES, v[m]);
    }
}

KERNEL_INLINE void from_by_source(const float* by_source, int quarter, float scale, float* states) {
    for (int q = 0; q < quarter; q += LANES) {
        __m512 v[4];
        for (int m = 0; m < 4; ++m)
            v[m] = _mm512_mul_ps(_mm512_loadu_ps(by_source + 4 * q + m * LANES), _mm512_set1_ps(scale));
        transpose_quarters(v);
        transpose_within(v);
        for (int j = 0; j < 4; ++j) _mm512_storeu_ps(states + j * quarter + q, v[j]);
    }
}

KERNEL_INLINE __m512 four_times(const float* at) { return _mm512_broadcast_f32x4(_mm_loadu_ps(at)); }

KERNEL_INLINE __m512 sum_of(const __m512 (&v)[4]) {
    return _mm512_add_ps(_mm512_add_ps(v[0], v[1]), _mm512_add_ps(v[2], v[3]));
}

// Calls `body` with the rows in groups of at most ROWS, as even as can be: small groups wait for their sums.
#define IN_ROWS(total, body)                                                 \
    for (int row = 0, left = ((total) + ROWS - 1) / ROWS; left > 0; --left) { \
        const int count = ((total) - row) / left;                            \
        switch (count) {                                                     \
            case 6: body(6) break;                                           \
            case 5: body(5) break;                                           \
            case 4: body(4) break;                                           \
            case 3: body(3) break;                                           \
            case 2: body(2) break;                                           \
            default: body(1) break;                                          \
        }                                                                    \
        row += count;                                                        \
    }

}  // namespace

extern "C" {

int native_supported() {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vnni");
}

// float32 [samples, inputs] -> float32 [out_samples, outputs] of one row, for the first, narrow convolutions:
// `x` begins with the zeros that pad it. weights are float32 [winlen, inputs, 16], biases [16], outputs <= 16.
KERNEL void native_convolution(const float* x, int out_samples, int inputs, int outputs, int winlen, int stride,
                               const float* weights, const float* biases, int activation, float low, float high,
                               float* out) {
    const Shape shape = {activation, low, high};
    const __mmask16 mask = static_cast<__mmask16>((1u << outputs) - 1u);
    const int taps = winlen * inputs, step = stride * inputs;
    // Four at once, because one sum alone waits for itself; at the end, the last again.
    for (int t = 0; t < out_samples; t += 4) {
        const float* at[4];
        __m512 sums[4];
        for (int r = 0; r < 4; ++r) {
            at[r] = x + static_cast<size_t>(std::min(t + r, out_samples - 1)) * step;
            sums[r] = _mm512_loadu_ps(biases);
        }
        for (int k = 0; k < taps; ++k) {
            const __m512 w = _mm512_loadu_ps(weights + k * LANES);
            for (int r = 0; r < 4; ++r) sums[r] = _mm512_fmadd_ps(_mm512_set1_ps(at[r][k]), w, sums[r]);
        }
        for (int r = 0; r < 4 && t + r < out_samples; ++r)
            _mm512_mask_storeu_ps(out + static_cast<size_t>(t + r) * outputs, mask, activate(sums[r], shape));
    }
}

// float32 of one row, whose windows of `inputs` (even) lie `step` apart -> words, `out_step` apart, with scales
// `out_scales_step` apart: a wide convolution. Outputs are a multiple of 16. `room` is for native_wide_room floats.
KERNEL void native_wide_convolution(const float* x, int steps, int step, int inputs, int outputs, const int8_t* weights,
                                    const float* scales, const float* biases, int activation, float low, float high,
                                    float* room, int16_t* out, size_t out_step, float* out_scales, size_t out_scales_step) {
    const Shape shape = {activation, low, high};
    const Weights all = {weights, scales, biases, inputs / 2, outputs};
    int16_t* words = reinterpret_cast<int16_t*>(room + ROWS * static_cast<size_t>(outputs));
#define BODY(COUNT)                                                                                          \
    {                                                                                                        \
        /* Windows overlap: one scale for all of them. */                                                    \
        const float scale = to_words(x + static_cast<size_t>(row) * step, (COUNT - 1) * step + inputs, words); \
        const float each[ROWS] = {scale, scale, scale, scale, scale, scale};                                 \
        const Rows rows = {reinterpret_cast<const uint8_t*>(words), step * sizeof *words, each};             \
        dense<false, COUNT>(rows, all, shape, 1.0f, room, outputs);                                          \
        for (int r = row; r < row + COUNT; ++r)                                                              \
            out_scales[r * out_scales_step] = to_words(room + (r - row) * outputs, outputs, out + r * out_step); \
    }
    IN_ROWS(steps, BODY)
#undef BODY
}

// Floats of room that native_wide_convolution needs.
size_t native_wide_room(int step, int inputs, int outputs) {
    return ROWS * static_cast<size_t>(outputs) + (static_cast<size_t>(ROWS - 1) * step + inputs) / 2 + 1;
}

// Bytes, or words with scales, [rows, inputs] -> words with scales [rows, outputs]. Inputs are a multiple of four
// (bytes) or even (words), outputs of 16. `room` is for six rows of outputs.
KERNEL void native_linear(const uint8_t* x, const float* x_scales, int rows, int inputs, int outputs,
                          const int8_t* weights, const float* scales, const float* biases, int activation, float low,
                          float high, float* room, int16_t* out, float* out_scales) {
    const Shape shape = {activation, low, high};
    const int fours = x_scales ? inputs / 2 : inputs / 4;
    const Weights all = {weights, scales, biases, fours, outputs};
    const Rows input = {x, 4 * static_cast<size_t>(fours), x_scales};
#define BODY(COUNT)                                                                                               \
    {                                                                                                             \
        dense_rows<COUNT>(input.from(row), all, shape, 1.0f, room, outputs);                                      \
        for (int r = row; r < row + COUNT; ++r)                                                                   \
            out_scales[r] = to_words(room + (r - row) * outputs, outputs, out + static_cast<size_t>(r) * outputs); \
    }
    IN_ROWS(rows, BODY)
#undef BODY
}

// Bytes, or words with scales, [steps, rows, inputs] -> float32 [rows, steps, outputs], times `factor`: the scores.
KERNEL void native_scores(const uint8_t* x, const float* x_scales, int steps, int rows, int inputs, int outputs,
                          const int8_t* weights, const float* scales, const float* biases, int activation, float low,
                          float high, float factor, float* out) {
    const Shape shape = {activation, low, high};
    const int fours = x_scales ? inputs / 2 : inputs / 4;
    const Weights all = {weights, scales, biases, fours, outputs};
    const Rows input = {x, 4 * static_cast<size_t>(fours), x_scales};
    const size_t out_step = static_cast<size_t>(steps) * outputs;
    for (int t = 0; t < steps; ++t) {
        const Rows now = input.from(t * rows);
        float* to = out + static_cast<size_t>(t) * outputs;
#define BODY(COUNT) dense_rows<COUNT>(now.from(row), all, shape, factor, to + row * out_step, out_step);
        IN_ROWS(rows, BODY)
#undef BODY
    }
}

// Bytes, or words with scales, [steps, rows, inputs] -> states, bytes [steps + 1, rows, units]: after the step before
// the first, which is filled with zeros, and after each step; from the last to the first where `reverse`.
// `x_weights` and `x_scales` are for words; bytes have their weights before those of the states. `cells` float32
// [rows, units] is room to work in. Inputs are as native_linear's, units a multiple of 16.
KERNEL void native_lstm(const uint8_t* x, const float* x_row_scales, int steps, int rows, int inputs, int units,
                        int reverse, const int8_t* x_weights, const float* x_scales, const int8_t* weights,
                        const float* scales, const float* biases, float* cells, uint8_t* out) {
    const int x_fours = x_row_scales ? inputs / 2 : inputs / 4;
    const int fours = (x_row_scales ? 0 : x_fours) + units / 4;
    const Rows input = {x, 4 * static_cast<size_t>(x_fours), x_row_scales};
    const size_t plane = static_cast<size_t>(rows) * units, group = 4 * PARTS * LANES;
    std::memset(out + (reverse ? steps * plane : 0), ZERO, plane);
    std::fill(cells, cells + plane, 0.0f);
    for (int n = 0; n < steps; ++n) {
        const int t = reverse ? steps - 1 - n : n;
        const Rows now = input.from(t * rows);
        const Rows before = {out + (reverse ? t + 1 : t) * plane, static_cast<size_t>(units), nullptr};
        uint8_t* after = out + (reverse ? t : t + 1) * plane;
        // The weights of 16 units stay in the first cache while all rows pass.
        for (int u = 0; u < units; u += LANES) {
            const int part = u / LANES;
            const Weights these = {weights + part * group * fours, scales + PARTS * u, biases + PARTS * u, fours, 0};
            if (x_row_scales) {
                const int8_t* theirs = x_weights + part * group * x_fours;
#define BODY(COUNT)                                                                                                    \
    lstm_cells<COUNT, true>(now.from(row), x_fours, theirs, x_scales + PARTS * u, before.from(row), these,             \
                            cells + static_cast<size_t>(row) * units + u, after + static_cast<size_t>(row) * units + u, units);
                IN_ROWS(rows, BODY)
#undef BODY
            } else {
#define BODY(COUNT)                                                                                                    \
    lstm_cells<COUNT, false>(now.from(row), x_fours, nullptr, nullptr, before.from(row), these,                        \
                             cells + static_cast<size_t>(row) * units + u, after + static_cast<size_t>(row) * units + u, units);
                IN_ROWS(rows, BODY)
#undef BODY
            }
        }
    }
}

// Floats of room that native_best_path needs.
size_t native_best_path_room(int steps, int states) {
    return static_cast<size_t>(steps) * states * 4 + static_cast<size_t>(steps + 1) * states +
           static_cast<size_t>(steps) * 2 + static_cast<size_t>(states) * 8 + static_cast<size_t>(steps) * states / 4 + 64;
}

// The path of one chunk that maximises the product of its steps' posteriors, in the lattice of models/crf.py.
// scores float32 [steps, states, 4], staying scores `blank`; states are a multiple of 64. Fills moves [steps], path
// [steps] (the state after each step) and sure [steps] (the posterior of that state). `least` is added to posteriors.
//
// Forwards: alpha, as rescaled probabilities. Backwards, in one pass: beta, the posteriors, and for each state the
// best way to the end; so that no posterior is ever stored, and the path is read off forwards.
KERNEL void native_best_path(const float* scores, int steps, int states, float blank, float least, float* room,
                             uint8_t* moves, int64_t* path, float* sure) {
    const int quarter = states / 4;
    float* weights = room;                                            // [steps, states, 4]
    float* alphas = weights + static_cast<size_t>(steps) * states * 4;  // [steps + 1, states]
    float* stays = alphas + static_cast<size_t>(steps + 1) * states;    // [steps]
    float* norms = stays + steps;                                       // [steps]
    float* beta = norms + steps;
    float* best = beta + states;
    float* alpha_by = best + states;
    float* beta_by = alpha_by + states;
    float* best_by = beta_by + states;
    float* beta_next = best_by + states;
    float* best_next = beta_next + states;
    uint8_t* choices = reinterpret_cast<uint8_t*>(best_next + states);  // [steps, states], by source
    const __m512i transposed = _mm512_set_epi32(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0);
    const __m512i each_four_times = _mm512_set_epi32(3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0);

    for (int s = 0; s < states; ++s) alphas[s] = 1.0f / static_cast<float>(states);
    for (int t = 0; t < steps; ++t) {
        const float* now = scores + static_cast<size_t>(t) * states * 4;
        float* w = weights + static_cast<size_t>(t) * states * 4;
        const float* alpha = alphas + static_cast<size_t>(t) * states;
        float* next = alphas + static_cast<size_t>(t + 1) * states;
        __m512 top = _mm512_set1_ps(blank);
        for (int k = 0; k < states * 4; k += LANES) top = _mm512_max_ps(top, _mm512_loadu_ps(now + k));
        const float highest = _mm512_reduce_max_ps(top);
        const __m512 offset = _mm512_set1_ps(-highest * LOG2_E);
        const __m512 stay = exp2_ps(_mm512_fmadd_ps(_mm512_set1_ps(blank), _mm512_set1_ps(LOG2_E), offset));
        stays[t] = _mm512_cvtss_f32(stay);
        to_by_source(alpha, quarter, alpha_by);
        __m512 total = _mm512_setzero_ps();
        for (int s = 0; s < states; s += LANES) {
            __m512 v[4];
            for (int c = 0; c < 4; ++c) {
                const int at = 4 * s + c * LANES;
                const __m512 e = exp2_ps(_mm512_fmadd_ps(_mm512_loadu_ps(now + at), _mm512_set1_ps(LOG2_E), offset));
                _mm512_storeu_ps(w + at, e);
                v[c] = _mm512_mul_ps(e, four_times(alpha_by + s + 4 * c));
            }
            transpose_within(v);
            const __m512 moved = _mm512_permutexvar_ps(transposed, sum_of(v));
            const __m512 value = _mm512_fmadd_ps(_mm512_loadu_ps(alpha + s), stay, moved);
            _mm512_storeu_ps(next + s, value);
            total = _mm512_add_ps(total, value);
        }
        norms[t] = _mm512_reduce_add_ps(total);
        const __m512 scale = _mm512_set1_ps(1.0f / norms[t]);
        for (int s = 0; s < states; s += LANES)
            _mm512_storeu_ps(next + s, _mm512_mul_ps(_mm512_loadu_ps(next + s), scale));
    }

    for (int s = 0; s < states; ++s) beta[s] = best[s] = 1.0f;
    for (int t = steps - 1; t >= 0; --t) {
        const float* w = weights + static_cast<size_t>(t) * states * 4;
        float* after = alphas + static_cast<size_t>(t + 1) * states;
        __m512 total = _mm512_setzero_ps();
        for (int s = 0; s < states; s += LANES) {
            // The posterior of each state after this step takes the place of alpha, which is not needed any more.
            const __m512 both = _mm512_mul_ps(_mm512_loadu_ps(after + s), _mm512_loadu_ps(beta + s));
            _mm512_storeu_ps(after + s, both);
            total = _mm512_add_ps(total, both);
        }
        const float inverse = 1.0f / _mm512_reduce_add_ps(total);
        for (int s = 0; s < states; s += LANES)
            _mm512_storeu_ps(after + s, _mm512_mul_ps(_mm512_loadu_ps(after + s), _mm512_set1_ps(inverse)));
        const __m512 scale = _mm512_set1_ps(inverse / norms[t]), stay = _mm512_set1_ps(stays[t]);
        const __m512 floor = _mm512_set1_ps(least);
        to_by_source(alphas + static_cast<size_t>(t) * states, quarter, alpha_by);
        to_by_source(beta, quarter, beta_by);
        to_by_source(best, quarter, best_by);
        __m512 beta_top = _mm512_setzero_ps(), best_top = _mm512_setzero_ps();
        for (int s = 0; s < states; s += LANES) {
            __m512 v[4], m[4];
            const __m512 betas = _mm512_loadu_ps(beta + s), bests = _mm512_loadu_ps(best + s);
            __m512i index = each_four_times;
            for (int c = 0; c < 4; ++c) {
                v[c] = _mm512_mul_ps(_mm512_loadu_ps(w + 4 * s + c * LANES), _mm512_permutexvar_ps(index, betas));
                const __m512 posterior = _mm512_mul_ps(_mm512_mul_ps(v[c], four_times(alpha_by + s + 4 * c)), scale);
                m[c] = _mm512_mul_ps(_mm512_add_ps(posterior, floor), _mm512_permutexvar_ps(index, bests));
                index = _mm512_add_epi32(index, _mm512_set1_epi32(4));
            }
            transpose_quarters(v);
            transpose_quarters(m);
            const __m512 stayed = _mm512_mul_ps(_mm512_loadu_ps(beta_by + s), stay);
            const __m512 before = _mm512_add_ps(sum_of(v), stayed);
            const __m512 posterior = _mm512_mul_ps(_mm512_mul_ps(stayed, _mm512_loadu_ps(alpha_by + s)), scale);
            __m512 top = _mm512_mul_ps(_mm512_add_ps(posterior, floor), _mm512_loadu_ps(best_by + s));
            __m512i choice = _mm512_setzero_si512();
            for (int i = 0; i < 4; ++i) {
                const __mmask16 better = _mm512_cmp_ps_mask(m[i], top, _CMP_GT_OQ);
                top = _mm512_mask_mov_ps(top, better, m[i]);
                choice = _mm512_mask_mov_epi32(choice, better, _mm512_set1_epi32(1 + i));
            }
            _mm512_storeu_ps(beta_next + s, before);
            _mm512_storeu_ps(best_next + s, top);
            beta_top = _mm512_max_ps(beta_top, before);
            best_top = _mm512_max_ps(best_top, top);
            _mm_storeu_si128(reinterpret_cast<__m128i*>(choices + static_cast<size_t>(t) * states + s),
                             _mm512_cvtepi32_epi8(choice));
        }
        from_by_source(beta_next, quarter, 1.0f / _mm512_reduce_max_ps(beta_top), beta);
        from_by_source(best_next, quarter, 1.0f / _mm512_reduce_max_ps(best_top), best);
    }

    int64_t state = 0;
    for (int s = 1; s < states; ++s)
        if (best[s] > best[state]) state = s;
    for (int t = 0; t < steps; ++t) {
        const int64_t source = 4 * (state % quarter);
        const uint8_t choice = choices[static_cast<size_t>(t) * states + source + state / quarter];
        moves[t] = choice > 0;
        if (choice > 0) state = source + choice - 1;
        path[t] = state;
        sure[t] = alphas[static_cast<size_t>(t + 1) * states + state];
    }
}

}  // extern "C"

#else

extern "C" int native_supported() { return 0; }

#endif
