import java.util.Objects;

final class Expect {
  private Expect() {}

  static void equal(Object wanted, Object found) {
    if (!Objects.equals(wanted, found)) {
      throw new AssertionError("wanted " + wanted + ", found " + found);
    }
  }
}
