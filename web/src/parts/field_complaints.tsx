/** What the server says about a field, below it. */
export function FieldComplaints({ words }: { words: string[] | undefined }) {
  return (
    <div class="field-said">
      {words?.map((text) => (
        <p key={text} class="complaint">
          {text}
        </p>
      ))}
    </div>
  );
}
