#include "storage/coding.h"

#include <nmmintrin.h>

#include <cstring>

namespace ursa {
namespace {

template <typename Unsigned>
void AppendBigEndian(std::string* out, Unsigned value) {
  for (int shift = 8 * (sizeof(value) - 1); shift >= 0; shift -= 8) out->push_back(static_cast<char>(value >> shift));
}

template <typename Unsigned>
Unsigned BigEndian(std::string_view bytes) {
  Unsigned value = 0;
  for (const char c : bytes) value = static_cast<Unsigned>(value << 8) | static_cast<unsigned char>(c);
  return value;
}

}  // namespace

void AppendU8(std::string* out, uint8_t value) { out->push_back(static_cast<char>(value)); }

void AppendU32(std::string* out, uint32_t value) { AppendBigEndian(out, value); }

void AppendU64(std::string* out, uint64_t value) { AppendBigEndian(out, value); }

void AppendDouble(std::string* out, double value) {
  uint64_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  AppendU64(out, bits);
}

std::string_view Decoder::Bytes(size_t num_bytes) {
  if (!ok_ || rest_.size() < num_bytes) {
    ok_ = false;
    return {};
  }
  const std::string_view bytes = rest_.substr(0, num_bytes);
  rest_.remove_prefix(num_bytes);
  return bytes;
}

uint8_t Decoder::U8() { return BigEndian<uint8_t>(Bytes(1)); }

uint32_t Decoder::U32() { return BigEndian<uint32_t>(Bytes(4)); }

uint64_t Decoder::U64() { return BigEndian<uint64_t>(Bytes(8)); }

double Decoder::Double() {
  const uint64_t bits = U64();
  double value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

std::string_view Decoder::ZeroTerminated() {
  const size_t end = rest_.find('\0');
  if (end == std::string_view::npos) {
    ok_ = false;
    return {};
  }
  const std::string_view bytes = Bytes(end);
  Bytes(1);
  return bytes;
}

std::string_view Decoder::Rest() { return Bytes(rest_.size()); }

// By the instruction of SSE 4.2, which is in x86-64-v2.
uint32_t Crc32c(std::string_view bytes) {
  uint64_t crc = 0xFFFFFFFFu;
  while (bytes.size() >= sizeof(uint64_t)) {
    uint64_t word;
    std::memcpy(&word, bytes.data(), sizeof(word));
    crc = _mm_crc32_u64(crc, word);
    bytes.remove_prefix(sizeof(word));
  }
  for (const char c : bytes) crc = _mm_crc32_u8(static_cast<uint32_t>(crc), static_cast<unsigned char>(c));
  return ~static_cast<uint32_t>(crc);
}

}  // namespace ursa
