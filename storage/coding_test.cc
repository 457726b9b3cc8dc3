#include "storage/coding.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "gtest/gtest.h"

namespace ursa {
namespace {

TEST(CodingTest, IntegersAreBigEndianAndComeBack) {
  std::string bytes;
  AppendU8(&bytes, 0xAB);
  AppendU32(&bytes, 0x01020304);
  AppendU64(&bytes, 0x05060708090A0B0C);
  EXPECT_EQ(bytes, "\xAB\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0A\x0B\x0C");
  Decoder decoder(bytes);
  EXPECT_EQ(decoder.U8(), 0xAB);
  EXPECT_EQ(decoder.U32(), 0x01020304u);
  EXPECT_EQ(decoder.U64(), 0x05060708090A0B0Cu);
  EXPECT_TRUE(decoder.Done());
}

TEST(CodingTest, ByteOrderIsNumericOrder) {
  std::string previous;
  for (int bit = 0; bit < 64; ++bit) {
    for (const uint64_t value : {(uint64_t{1} << bit) - 1, uint64_t{1} << bit}) {
      std::string bytes;
      AppendU64(&bytes, value);
      EXPECT_LE(previous, bytes) << value;
      previous = bytes;
    }
  }
}

TEST(CodingTest, DoublesKeepTheirBits) {
  for (const double value : {0.0, -0.0, 1.5, -1e308, std::numeric_limits<double>::denorm_min(),
                             std::numeric_limits<double>::infinity(), std::nan("1")}) {
    std::string bytes;
    AppendDouble(&bytes, value);
    Decoder decoder(bytes);
    const double back = decoder.Double();
    EXPECT_EQ(std::memcmp(&back, &value, sizeof(value)), 0) << value;
  }
}

TEST(CodingTest, ReadingPastTheEndFailsForGood) {
  Decoder decoder("\x01\x02\x03");
  EXPECT_EQ(decoder.U32(), 0u);
  EXPECT_FALSE(decoder.ok());
  EXPECT_EQ(decoder.U8(), 0);
  EXPECT_FALSE(decoder.Done());
  Decoder text("abc");
  EXPECT_EQ(text.ZeroTerminated(), "");
  EXPECT_FALSE(text.ok());
  Decoder left("ab");
  left.U8();
  EXPECT_TRUE(left.ok());
  EXPECT_FALSE(left.Done());
}

// RFC 3720, appendix B.4, and the check value of the CRC catalogue.
TEST(CodingTest, Crc32cOfThePublishedVectors) {
  EXPECT_EQ(Crc32c("123456789"), 0xE3069283u);
  EXPECT_EQ(Crc32c(std::string(32, '\0')), 0x8A9136AAu);
  EXPECT_EQ(Crc32c(std::string(32, '\xff')), 0x62A8AB43u);
  EXPECT_EQ(Crc32c(""), 0u);
}

}  // namespace
}  // namespace ursa
