// What stands before the first byte that means something.
#include "agent/base/text.h"

#include <gtest/gtest.h>

namespace dipper::base {
namespace {

TEST(Text, StripsTheByteOrderMark) {
  EXPECT_EQ(WithoutByteOrderMark("\xEF\xBB\xBF"
                                 "a"),
            "a");
  EXPECT_EQ(WithoutByteOrderMark("a"), "a");
}

TEST(Text, FirstByteIsBehindMarkAndBlanks) {
  EXPECT_EQ(FirstByte("\xEF\xBB\xBF \t\r\n{"), '{');
  EXPECT_EQ(FirstByte("[1]"), '[');
  EXPECT_EQ(FirstByte(" \xEF\xBB\xBF"), '\xEF') << "a mark stands at the start";
  for (const char* nothing : {"", " \t ", "\xEF\xBB\xBF", "\xEF\xBB\xBF\r\n"})
    EXPECT_EQ(FirstByte(nothing), '\0');
}

}  // namespace
}  // namespace dipper::base
