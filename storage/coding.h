// Integers and floats as bytes, for keys and values.
#ifndef URSA_STORAGE_CODING_H_
#define URSA_STORAGE_CODING_H_

#include <cstdint>
#include <string>
#include <string_view>

namespace ursa {

// Big-endian: byte order is numeric order. For keys, and for values too, so that there is one form.
void AppendU8(std::string* out, uint8_t value);
void AppendU32(std::string* out, uint32_t value);
void AppendU64(std::string* out, uint64_t value);
// The IEEE 754 bits of `value` as a big-endian u64: exact, NaN payloads too; not order-preserving.
void AppendDouble(std::string* out, double value);

// Reads what Append* wrote, from the front. After the first read past the end, ok() is false and reads give zeros.
class Decoder {
 public:
  explicit Decoder(std::string_view bytes) : rest_(bytes) {}

  uint8_t U8();
  uint32_t U32();
  uint64_t U64();
  double Double();
  std::string_view Bytes(size_t num_bytes);
  // Up to the first zero byte, which is taken too; not ok() if there is none.
  std::string_view ZeroTerminated();
  // All that is left.
  std::string_view Rest();

  bool ok() const { return ok_; }
  // Whether all was well and nothing is left.
  bool Done() const { return ok_ && rest_.empty(); }

 private:
  std::string_view rest_;
  bool ok_ = true;
};

// CRC-32C (Castagnoli, as in RFC 3720).
uint32_t Crc32c(std::string_view bytes);

}  // namespace ursa

#endif  // URSA_STORAGE_CODING_H_
